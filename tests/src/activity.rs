//! Counts what is under way, so that a test can wait until nothing is instead of sleeping for a
//! guessed time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what has begun and what has ended. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Activity {
    /// Counts something as running until the returned guard is dropped.
    #[must_use]
    pub fn begin(&self) -> Running {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        Running(self.clone())
    }

    pub fn running(&self) -> usize {
        // In this order of reads, a race can only show something as running that has just ended.
        let ended = self.0.ended.load(Ordering::SeqCst);
        self.begun() - ended
    }

    /// How much has begun so far. The same count twice means that nothing began in between.
    pub fn begun(&self) -> usize {
        self.0.begun.load(Ordering::SeqCst)
    }
}

/// Something that runs for as long as this guard lives.
#[derive(Debug)]
pub struct Running(Activity);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}
