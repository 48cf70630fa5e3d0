//! What is under way. A test waits until nothing is, instead of sleeping for as long as it hopes that it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what has begun and what has ended; its clones count together.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Activity {
    /// Something runs until the answer is dropped.
    #[must_use]
    pub fn begin(&self) -> Running {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        Running(self.clone())
    }

    pub fn running(&self) -> usize {
        // Read in this order, a race shows something as still running, never the reverse.
        let ended = self.0.ended.load(Ordering::SeqCst);
        self.begun() - ended
    }

    /// How much has begun so far: the same figure twice means that nothing began in between.
    pub fn begun(&self) -> usize {
        self.0.begun.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
pub struct Running(Activity);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}
