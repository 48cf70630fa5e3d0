//! One invocation of a function: who acts, and until when.

use jiff::{SignedDuration, Timestamp};
use record::{clock, crash};

/// What a dispatcher may rely on while it works.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The token under which it owns batches. Lambda's request id would not do: a retried
    /// invocation has the same one.
    pub owner: String,
    /// When Lambda stops it.
    pub deadline: Timestamp,
    /// How long an invocation may last: what an older one holds was left behind.
    pub length: SignedDuration,
}

impl Invocation {
    /// An invocation that Lambda stops at `deadline_ms` since 1970.
    pub fn until(deadline_ms: u64) -> Self {
        let now = clock::now();
        let deadline = i64::try_from(deadline_ms).ok();
        let deadline = deadline.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let deadline = deadline.map_or(now, |deadline| deadline + crash::skew("deadlines"));
        Self {
            owner: clock::token(),
            deadline,
            length: deadline.duration_since(now),
        }
    }
}
