//! What recovery does with a batch that its dispatcher may have left behind.
//!
//! A dispatcher that was stopped leaves claims without a batch, batches without an outcome, or
//! outcomes that were not applied to their members. The record shows which, and each has one safe
//! way on. When recovery acts decides how soon a message goes on, never whether it is safe: acting
//! too early costs the other dispatcher its batch.

use crate::batch::BatchState;

/// What was found of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBatch {
    pub state: BatchState,
    /// By its deadline, the dispatcher that owns it may still be at work.
    pub attended: bool,
    /// The provider is configured, and certain to recognise a repeat by its idempotency key.
    pub key_lives: bool,
}

/// What recovery does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryStep {
    /// Leaves it alone for now.
    Wait,
    /// Writes the tombstone (W7). Once it is there, the intent never will be, so nothing is sent.
    Abandon,
    /// Records UNKNOWN (W5): the request may have been sent, and its answer never reached the
    /// record.
    RecordDoubt,
    /// Repeats the request under its key (W4), to settle the doubt.
    Resend,
    /// Applies the outcome to the members (W6, W8).
    Apply,
}

/// What to do with a batch as it was found, or with claims for a batch that is not in the record.
pub fn next_step(found: Option<FoundBatch>) -> RecoveryStep {
    let Some(FoundBatch {
        state,
        attended,
        key_lives,
    }) = found
    else {
        return RecoveryStep::Abandon;
    };
    match state {
        BatchState::Started if attended => RecoveryStep::Wait,
        BatchState::Started => RecoveryStep::RecordDoubt,
        BatchState::Unknown if key_lives => RecoveryStep::Resend,
        BatchState::Unknown
        | BatchState::Confirmed
        | BatchState::Rejected
        | BatchState::Abandoned => RecoveryStep::Apply,
    }
}
