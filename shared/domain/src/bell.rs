//! When a bell comes back: which of the bells that woke a dispatcher have to ring again, and how
//! soon.
//!
//! A bell that is lost, repeated or late costs time only, so all of this decides how soon a message
//! goes out, never whether.

use jiff::{SignedDuration, Timestamp};

use crate::dispatched::Dispatched;
use crate::state::State;

/// How soon a bell that rang in vain rings again the first time, in seconds, and how much later
/// each further time.
const RETRY_S: i64 = 5;
/// The longest that it waits after many times, in seconds.
const RETRY_MAX_S: i64 = 300;
/// The dispatcher that claimed a message has ended or been stopped by then, in seconds.
const CLAIMED_MAX_S: i64 = 60;
/// The shortest time for which the queue can hide a bell, in seconds.
const HIDDEN_MIN_S: i64 = 1;

/// A message that a bell names, as the record has it after the dispatcher is done.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub state: State,
    /// How long until it is due.
    pub wait: SignedDuration,
}

/// The message is not finished, so its bell has to ring again.
pub fn has_to_ring(state: State) -> bool {
    matches!(state, State::Accepted | State::Sending)
}

/// How long until a bell that rang in vain rings again.
pub fn retry(receive_count: i64) -> SignedDuration {
    SignedDuration::from_secs((RETRY_S * receive_count).min(RETRY_MAX_S))
}

/// How long until a bell rings again; none if all its messages are finished.
///
/// `ended` is why the dispatcher stopped, and `receive_count` how often the queue has delivered the
/// bell.
pub fn retry_after(
    messages: impl Iterator<Item = Named>,
    ended: Dispatched,
    receive_count: i64,
    now: Timestamp,
) -> Option<SignedDuration> {
    let retry = retry(receive_count);
    let retries = messages
        .filter(|named| has_to_ring(named.state))
        .map(|named| match (named.state, ended) {
            // Its dispatcher will record what becomes of it; if that has died, the next ring
            // recovers the batch.
            (State::Sending, _) => retry.min(SignedDuration::from_secs(CLAIMED_MAX_S)),
            (_, Dispatched::Unsent) => retry,
            (_, Dispatched::NoSlot(until)) => until.duration_since(now),
            _ => named.wait,
        });
    retries
        .min()
        .map(|time| time.max(SignedDuration::from_secs(HIDDEN_MIN_S)))
}
