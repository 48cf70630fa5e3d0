//! Runs one function: starts its processes, hands them events, and limits how many there are.

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

/// How many processes a function may have if its event source sets no limit: this is one machine
/// and not a region.
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
    /// The most recently used one is at the end.
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
        let limit = plan
            .sources
            .iter()
            .filter_map(|source| source.concurrency_max)
            .min();
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
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(closed());
        };
        let process = self.process().await?;
        let result = process.invoke(&self.arn, &event, self.timeout).await;
        self.give_back(process);
        if let Err(error) = &result {
            self.logs.push(&self.name, format!("ERROR {error}"));
        }
        result
    }

    /// Kills all processes and starts none again. It does not wait until they have ended.
    pub(super) fn close(&self) {
        self.permits.close();
        let mut processes = self.locked();
        processes.closed = true;
        processes.idle.clear();
        processes.all.iter().for_each(|process| process.signal());
    }

    /// Kills all processes and waits until they have ended.
    pub(super) async fn kill_all(&self) {
        let killed = {
            let mut processes = self.locked();
            processes.idle.clear();
            std::mem::take(&mut processes.all)
        };
        for process in killed {
            process.kill().await;
        }
    }

    /// A warm process, or else a new one.
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
        let process =
            Arc::new(spawned.map_err(|error| InvokeError::Crashed(format!("{error:#}")))?);
        {
            let mut processes = self.locked();
            if processes.closed {
                return Err(closed());
            }
            // It is registered before it is ready, so that it can be killed while it starts.
            processes.all.push(Arc::clone(&process));
        }
        match process.ready().await {
            Ok(()) => Ok(process),
            Err(error) => {
                self.locked()
                    .all
                    .retain(|known| !Arc::ptr_eq(known, &process));
                Err(error)
            }
        }
    }

    fn give_back(&self, process: Arc<Process>) {
        let mut processes = self.locked();
        processes.all.retain(|known| known.is_alive());
        // A process that was killed in the meantime is not in the list any more.
        if processes
            .all
            .iter()
            .any(|known| Arc::ptr_eq(known, &process))
        {
            processes.idle.push(process);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Processes> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> InvokeError {
    InvokeError::Crashed("the stack was stopped".to_owned())
}
