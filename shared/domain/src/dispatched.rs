//! What one try to dispatch a batch came to.

use jiff::Timestamp;

/// The result of the dispatcher's `dispatch_next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatched {
    /// A batch was sent, or what was read could not be claimed: there may be more.
    More,
    /// The provider refused a batch as a whole: its members wait again, to go out in smaller ones.
    Refused,
    /// The provider took nothing, for now.
    Unsent,
    /// Nothing waits that may go now.
    Idle,
    /// The rate limit has no slot before this moment, which is too far away to wait for.
    NoSlot(Timestamp),
    /// Another request could not be finished and recorded before the invocation ends.
    OutOfTime,
}
