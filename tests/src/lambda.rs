//! Lambda: runs the real binaries of the functions as processes of this machine.
//!
//! As on AWS, a process handles one event at a time. A warm process is used again, the most
//! recently used one first, and a new one is started if none is free, up to the limit of the
//! function; beyond that, events wait. A process that exceeds the timeout of its function is
//! killed, and a process that ends fails its invocation. An invocation continues when its caller
//! has left.

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
pub use logs::{LogLine, Logs};

/// Why an invocation failed, in Lambda's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvokeError {
    #[error("Task timed out")]
    TimedOut,
    /// The process ended, or did not start.
    #[error("Runtime exited: {0}")]
    Crashed(String),
    /// The function answered with an error.
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
            let binary = binaries
                .get(&plan.binary)
                .with_context(|| format!("no binary {} was built", plan.binary))?;
            let function = Function::new(
                plan,
                binary.clone(),
                environment(plan, endpoints),
                Arc::clone(&logs),
            );
            Ok((plan.binary.clone(), Arc::new(function)))
        };
        Ok(Lambda {
            functions: functions.iter().map(function).collect::<Result<_>>()?,
            logs,
            activity: Activity::default(),
        })
    }

    /// Invokes a function and waits for its answer. If this future is dropped, the function does
    /// not notice.
    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, InvokeError> {
        let Some(function) = self.functions.get(function).cloned() else {
            return Err(InvokeError::Unknown(function.to_owned()));
        };
        let running = self.activity.begin();
        let invocation = tokio::spawn(async move {
            let _running = running;
            function.invoke(event).await
        });
        invocation
            .await
            .unwrap_or_else(|error| Err(InvokeError::Crashed(error.to_string())))
    }

    /// Kills every process of the function, whatever it is doing, and waits until they have ended.
    pub async fn kill_all(&self, function: &str) {
        if let Some(function) = self.functions.get(function) {
            function.kill_all().await;
        }
    }

    /// Kills all processes and starts none again. It does not wait until they have ended.
    pub fn close(&self) {
        self.functions
            .values()
            .for_each(|function| function.close());
    }

    /// Does the same, and waits until all processes have ended.
    pub async fn stop(&self) {
        self.close();
        for function in self.functions.values() {
            function.kill_all().await;
        }
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// The invocations under way, including those that wait for a process.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }
}

/// The addresses at which the functions find the stores.
#[derive(Clone, Debug)]
pub struct Endpoints {
    pub dynamo_url: String,
    pub sqs_url: String,
}

/// The environment of a function's process, without the address of its own Runtime API.
pub fn environment(
    function: &template::Function,
    endpoints: &Endpoints,
) -> BTreeMap<String, String> {
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
