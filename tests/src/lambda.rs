//! Lambda: the real function binaries as processes of this machine.
//!
//! As on AWS, one process works on one event at a time, a warm one is used again (the one used last first), and a new
//! one is started when none is free, up to the function's limit; beyond that, events wait. A process that outlives
//! the function's timeout is killed and its invocation fails, a process that dies fails its invocation, and an
//! invocation goes on when whoever asked for it has gone.

mod function;
mod logs;
mod process;
mod runtime_api;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;
use thiserror::Error;

use crate::activity::Activity;
use crate::template::{self, REGION};
use function::Function;
pub use logs::{Line, Logs};

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvokeError {
    #[error("Task timed out")]
    TimedOut,
    /// The process ended, or never came up.
    #[error("Runtime exited: {0}")]
    Crashed(String),
    /// The function's own error.
    #[error("{error_type}: {message}")]
    Function { error_type: String, message: String },
    #[error("Function not found: {0}")]
    Unknown(String),
}

pub struct Lambda {
    functions: BTreeMap<String, Arc<Function>>,
    logs: Arc<Logs>,
    activity: Activity,
}

impl Lambda {
    pub fn new(
        functions: &[template::Function],
        binaries: &BTreeMap<String, PathBuf>,
        endpoints: &Endpoints,
    ) -> Result<Lambda> {
        let logs = Arc::new(Logs::default());
        let function = |plan: &template::Function| -> Result<_> {
            let binary = binaries.get(&plan.binary).with_context(|| format!("no binary {} was built", plan.binary))?;
            let function = Function::new(plan, binary.clone(), environment(plan, endpoints), Arc::clone(&logs));
            Ok((plan.binary.clone(), Arc::new(function)))
        };
        Ok(Lambda {
            functions: functions.iter().map(function).collect::<Result<_>>()?,
            logs,
            activity: Activity::default(),
        })
    }

    /// Waits for the function's answer; if this future is dropped, the function does not notice.
    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, InvokeError> {
        let Some(function) = self.functions.get(function).cloned() else {
            return Err(InvokeError::Unknown(function.to_owned()));
        };
        let running = self.activity.begin();
        let invocation = tokio::spawn(async move {
            let _running = running;
            function.invoke(event).await
        });
        invocation.await.unwrap_or_else(|error| Err(InvokeError::Crashed(error.to_string())))
    }

    /// Kills every process of the function, whatever it is doing, and waits until they are gone.
    pub async fn kill_all(&self, function: &str) {
        if let Some(function) = self.functions.get(function) {
            function.kill_all().await;
        }
    }

    /// Kills everything, without waiting for its end, and starts nothing again.
    pub fn close(&self) {
        self.functions.values().for_each(|function| function.close());
    }

    /// Kills everything, and waits until it is gone.
    pub async fn stop(&self) {
        self.close();
        for function in self.functions.values() {
            function.kill_all().await;
        }
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Invocations under way, those that still wait for a process included.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }
}

/// Where the functions find what AWS would be.
#[derive(Clone, Debug)]
pub struct Endpoints {
    pub dynamo_url: String,
    pub sqs_url: String,
}

/// All that a function's process finds in its environment, but for the address of its own Runtime API.
pub fn environment(function: &template::Function, endpoints: &Endpoints) -> BTreeMap<String, String> {
    let memory_mb = function.memory_mb.to_string();
    let lambda = [
        ("AWS_LAMBDA_FUNCTION_NAME", function.id.as_str()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory_mb),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_FORMAT", &function.log_format),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &endpoints.dynamo_url),
        ("AWS_ENDPOINT_URL_SQS", &endpoints.sqs_url),
    ];
    let mut environment = function.env.clone();
    environment.extend(lambda.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}

#[cfg(test)]
mod tests;
