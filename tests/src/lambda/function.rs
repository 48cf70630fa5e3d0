//! One function and its processes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::InvokeError;
use super::logs::Logs;
use super::process::Process;
use crate::template;

/// A laptop is not a region: so many processes at once, for a function whose event source sets no limit.
const PROCESSES_MAX: usize = 8;

pub(super) struct Function {
    name: String,
    arn: String,
    timeout: Duration,
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    permits: Semaphore,
    processes: Mutex<Processes>,
    logs: Arc<Logs>,
}

#[derive(Default)]
struct Processes {
    all: Vec<Arc<Process>>,
    /// The one used last is at the end.
    idle: Vec<Arc<Process>>,
    closed: bool,
}

impl Function {
    pub(super) fn new(
        plan: &template::Function,
        binary: PathBuf,
        environment: BTreeMap<String, String>,
        logs: Arc<Logs>,
    ) -> Function {
        let limit = plan.sources.iter().filter_map(|source| source.concurrency_max).min();
        Function {
            name: plan.binary.clone(),
            arn: plan.arn.clone(),
            timeout: Duration::from_secs(plan.timeout_s),
            binary,
            environment,
            permits: Semaphore::new(limit.unwrap_or(PROCESSES_MAX)),
            processes: Mutex::default(),
            logs,
        }
    }

    pub(super) async fn invoke(&self, event: Value) -> Result<Value, InvokeError> {
        let Ok(_permit) = self.permits.acquire().await else { return Err(closed()) };
        let process = self.process().await?;
        let result = process.invoke(&self.arn, &event, self.timeout).await;
        self.give_back(process);
        if let Err(error) = &result {
            self.logs.push(&self.name, format!("ERROR {error}"));
        }
        result
    }

    /// Kills all processes, without waiting for their end, and starts none again.
    pub(super) fn close(&self) {
        self.permits.close();
        let mut processes = self.locked();
        processes.closed = true;
        processes.idle.clear();
        processes.all.iter().for_each(|process| process.signal());
    }

    pub(super) async fn kill_all(&self) {
        let doomed = {
            let mut processes = self.locked();
            processes.idle.clear();
            std::mem::take(&mut processes.all)
        };
        for process in doomed {
            process.kill().await;
        }
    }

    async fn process(&self) -> Result<Arc<Process>, InvokeError> {
        let warm = {
            let mut processes = self.locked();
            processes.idle.retain(|process| process.is_alive());
            processes.idle.pop()
        };
        match warm {
            Some(process) => Ok(process),
            None => self.start().await,
        }
    }

    async fn start(&self) -> Result<Arc<Process>, InvokeError> {
        let spawned = Process::spawn(&self.name, &self.binary, &self.environment, &self.logs).await;
        let process = Arc::new(spawned.map_err(|error| InvokeError::Crashed(format!("{error:#}")))?);
        {
            let mut processes = self.locked();
            if processes.closed {
                return Err(closed());
            }
            // Known before it is ready, so that it can be killed while it starts.
            processes.all.push(Arc::clone(&process));
        }
        match process.ready().await {
            Ok(()) => Ok(process),
            Err(error) => {
                self.locked().all.retain(|known| !Arc::ptr_eq(known, &process));
                Err(error)
            }
        }
    }

    fn give_back(&self, process: Arc<Process>) {
        let mut processes = self.locked();
        processes.all.retain(|known| known.is_alive());
        // Killed in the meantime, it is not among them any more.
        if processes.all.iter().any(|known| Arc::ptr_eq(known, &process)) {
            processes.idle.push(process);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> InvokeError {
    InvokeError::Crashed("the stack was stopped".to_owned())
}
