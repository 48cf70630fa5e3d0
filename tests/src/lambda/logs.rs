//! Keeps the lines that the functions write to stdout and stderr.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

/// How many lines are kept. Older ones are dropped, so that a stack can run all day.
const LINES_MAX: usize = 1_000_000;
/// How many lines a subscriber may lag before it loses some.
const BACKLOG_LINES: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub function: String,
    pub text: String,
}

#[derive(Debug)]
pub struct Logs {
    lines: Mutex<VecDeque<LogLine>>,
    live: broadcast::Sender<LogLine>,
}

impl Default for Logs {
    fn default() -> Logs {
        Logs {
            lines: Mutex::default(),
            live: broadcast::Sender::new(BACKLOG_LINES),
        }
    }
}

impl Logs {
    pub fn lines(&self) -> Vec<LogLine> {
        self.locked().iter().cloned().collect()
    }

    /// Receives every line from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<LogLine> {
        self.live.subscribe()
    }

    pub(super) fn push(&self, function: &str, text: String) {
        let line = LogLine {
            function: function.to_owned(),
            text,
        };
        let mut lines = self.locked();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line.clone());
        // An error says that there is no subscriber.
        let _ = self.live.send(line);
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<LogLine>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
