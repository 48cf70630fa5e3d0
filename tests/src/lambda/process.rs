//! Runs one process of a function.
//!
//! No process may outlive the stack. A process is killed when its handle is dropped. If this whole
//! process is killed, the Runtime API ends with it; the poll of `lambda_runtime` then fails, and
//! the function's `main` ends.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::InvokeError;
use super::logs::Logs;
use super::runtime_api::{Init, Invocation, RuntimeApi};

/// How long a process may take to start. AWS allows 10 s; a busy machine gets more, so that no test
/// fails for it.
const INIT_LIMIT_S: u64 = 60;
/// The variables that a process inherits: where programs are, and what shows more when it fails.
const INHERITED: &[&str] = &["PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"];

pub(super) struct Process {
    api: RuntimeApi,
    kill: Arc<Notify>,
    /// How it ended, once it has.
    ended: watch::Receiver<Option<String>>,
    guard: JoinHandle<()>,
}

impl Process {
    pub(super) async fn spawn(
        function: &str,
        binary: &Path,
        environment: &BTreeMap<String, String>,
        logs: &Arc<Logs>,
    ) -> Result<Process> {
        let api = RuntimeApi::start().await?;
        let inherited = INHERITED
            .iter()
            .filter_map(|name| Some((name, env::var_os(name)?)));
        let mut child = Command::new(binary)
            .env_clear()
            .envs(inherited)
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{}: cannot be started", binary.display()))?;
        collect(function, child.stdout.take(), logs);
        collect(function, child.stderr.take(), logs);
        let kill = Arc::new(Notify::new());
        let (sender, ended) = watch::channel(None);
        let guard = tokio::spawn(guard(child, Arc::clone(&kill), sender));
        Ok(Process {
            api,
            kill,
            ended,
            guard,
        })
    }

    /// Waits until the process asks for its first event.
    pub(super) async fn ready(&self) -> Result<(), InvokeError> {
        let init = tokio::select! {
            init = timeout(Duration::from_secs(INIT_LIMIT_S), self.api.initialized()) => init,
            end = self.end() => return Err(InvokeError::Crashed(end)),
        };
        match init {
            Ok(Init::Ready) => Ok(()),
            Ok(Init::Failed(error)) => Err(error),
            Ok(Init::Starting) | Err(_) => {
                self.kill().await;
                Err(InvokeError::TimedOut)
            }
        }
    }

    pub(super) async fn invoke(
        &self,
        arn: &str,
        event: &Value,
        limit: Duration,
    ) -> Result<Value, InvokeError> {
        let (sender, answer) = oneshot::channel();
        let deadline = SystemTime::now() + limit;
        let invocation = Invocation {
            id: Uuid::now_v7().to_string(),
            event: event.to_string().into_bytes(),
            arn: arn.to_owned(),
            deadline_ms: deadline
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis(),
            answer: sender,
        };
        self.api.offer(invocation).await;
        tokio::select! {
            // An answer counts even if the process has ended since.
            biased;
            Ok(answer) = answer => answer,
            end = self.end() => Err(InvokeError::Crashed(end)),
            () = sleep(limit) => {
                self.kill().await;
                Err(InvokeError::TimedOut)
            }
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.ended.borrow().is_none() && self.ended.has_changed().is_ok()
    }

    /// Sends SIGKILL.
    pub(super) fn signal(&self) {
        self.kill.notify_one();
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub(super) async fn kill(&self) {
        self.signal();
        self.end().await;
    }

    async fn end(&self) -> String {
        let mut ended = self.ended.clone();
        let end = ended.wait_for(Option::is_some).await;
        end.ok()
            .and_then(|end| end.clone())
            .unwrap_or_else(|| "stopped".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard owns the child, which is killed when the guard is aborted.
        self.guard.abort();
    }
}

async fn guard(mut child: Child, kill: Arc<Notify>, ended: watch::Sender<Option<String>>) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = kill.notified() => {
            // An error says that it has ended by itself.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let end = status.map_or_else(
        |error| error.to_string(),
        |status: ExitStatus| status.to_string(),
    );
    ended.send_replace(Some(end));
}

fn collect(
    function: &str,
    output: Option<impl AsyncRead + Send + Unpin + 'static>,
    logs: &Arc<Logs>,
) {
    let Some(output) = output else { return };
    let (function, logs) = (function.to_owned(), Arc::clone(logs));
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            logs.push(&function, text);
        }
    });
}
