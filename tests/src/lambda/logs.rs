//! What the functions write to stdout and stderr, line by line.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

/// Older lines are forgotten, so that a stack can run all day.
const LINES_MAX: usize = 1_000_000;
/// How far a subscriber may fall behind before it loses lines.
const BACKLOG_LINES: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub function: String,
    pub text: String,
}

#[derive(Debug)]
pub struct Logs {
    lines: Mutex<VecDeque<Line>>,
    live: broadcast::Sender<Line>,
}

impl Default for Logs {
    fn default() -> Logs {
        Logs { lines: Mutex::default(), live: broadcast::Sender::new(BACKLOG_LINES) }
    }
}

impl Logs {
    pub fn lines(&self) -> Vec<Line> {
        self.locked().iter().cloned().collect()
    }

    /// Every line from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Line> {
        self.live.subscribe()
    }

    pub(super) fn push(&self, function: &str, text: String) {
        let line = Line { function: function.to_owned(), text };
        let mut lines = self.locked();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line.clone());
        // Nobody may be listening.
        let _ = self.live.send(line);
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
