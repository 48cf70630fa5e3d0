//! What becomes of the members of a batch once its outcome is known (W6, W8).
//!
//! The dispatcher, the sweep and the status function all apply outcomes, each possibly again after
//! another: a member only moves while its batch holds it, and only forward, so applying twice
//! changes nothing.

use crate::batch::{BatchState, Cause};
use crate::state::Reason;

/// Batches that may end in an error answer before their messages are given up; each was tried
/// `attempts_max` times.
pub const ERROR_BATCHES_MAX: u32 = 3;

/// A batch whose outcome is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledBatch {
    pub state: BatchState,
    /// Why it was not sent, where it was not.
    pub because: Cause,
    /// How many members it has.
    pub size: usize,
    /// [`ERROR_BATCHES_MAX`], except in the model.
    pub error_batches_max: u32,
}

/// What matters of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The provider refused this very message while it took the rest.
    pub refused: bool,
    /// Error answers that count against it so far.
    pub errors: u32,
}

/// What becomes of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOutcome {
    /// The provider took it.
    Confirmed,
    /// The provider may have taken it.
    Unconfirmed,
    /// It waits again, for another batch.
    Released,
    /// Released after an error answer; `errors` is the new count.
    ReleasedAfterError { errors: u32 },
    /// Released after a refusal of the whole batch: its next batch has at most this many messages,
    /// which finds the one to blame.
    ReleasedApart { batch_max: usize },
    /// It waits again by an operator's decision, even though it was UNCONFIRMED.
    Requeued,
    /// Provably not sent, and it will not be.
    NotSent(Reason),
    /// The provider refused it while it took the rest. That answer outranks the CONFIRMED that a
    /// report about another member led to.
    RefusedAlone,
}

impl SettledBatch {
    /// What becomes of a member; none while the batch is not settled, and its dispatcher or the
    /// sweep is still to act.
    pub fn outcome_of(&self, member: Member) -> Option<MemberOutcome> {
        Some(match self.state {
            BatchState::Started => return None,
            BatchState::Confirmed if member.refused => MemberOutcome::RefusedAlone,
            BatchState::Confirmed => MemberOutcome::Confirmed,
            BatchState::Unknown => MemberOutcome::Unconfirmed,
            BatchState::Abandoned => MemberOutcome::Released,
            BatchState::Rejected => self.unsent(member),
        })
    }

    fn unsent(&self, member: Member) -> MemberOutcome {
        match self.because {
            Cause::Unavailable => MemberOutcome::Released,
            Cause::ErrorAnswer if member.errors + 1 < self.error_batches_max => {
                MemberOutcome::ReleasedAfterError {
                    errors: member.errors + 1,
                }
            }
            Cause::ErrorAnswer => MemberOutcome::NotSent(Reason::ProviderError),
            Cause::Refused if self.size > 1 => MemberOutcome::ReleasedApart {
                batch_max: self.size / 2,
            },
            Cause::Refused => MemberOutcome::NotSent(Reason::Rejected),
            Cause::Decision { requeue: true } => MemberOutcome::Requeued,
            Cause::Decision { requeue: false } => MemberOutcome::NotSent(Reason::ProviderError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(because: Cause, size: usize) -> SettledBatch {
        let error_batches_max = ERROR_BATCHES_MAX;
        SettledBatch {
            state: BatchState::Rejected,
            because,
            size,
            error_batches_max,
        }
    }

    #[test]
    fn a_message_is_given_up_after_three_batches_of_errors() {
        let member = |errors| Member {
            refused: false,
            errors,
        };
        let outcome = |errors| rejected(Cause::ErrorAnswer, 5).outcome_of(member(errors));
        assert_eq!(
            outcome(0),
            Some(MemberOutcome::ReleasedAfterError { errors: 1 })
        );
        assert_eq!(
            outcome(1),
            Some(MemberOutcome::ReleasedAfterError { errors: 2 })
        );
        assert_eq!(
            outcome(2),
            Some(MemberOutcome::NotSent(Reason::ProviderError))
        );
    }

    #[test]
    fn a_refused_batch_is_halved_until_one_message_is_left_to_blame() {
        let member = Member {
            refused: false,
            errors: 0,
        };
        let outcome = |size| rejected(Cause::Refused, size).outcome_of(member);
        assert_eq!(
            outcome(5),
            Some(MemberOutcome::ReleasedApart { batch_max: 2 })
        );
        assert_eq!(
            outcome(2),
            Some(MemberOutcome::ReleasedApart { batch_max: 1 })
        );
        assert_eq!(outcome(1), Some(MemberOutcome::NotSent(Reason::Rejected)));
    }

    #[test]
    fn nothing_becomes_of_the_members_of_a_batch_that_is_not_settled() {
        let started = SettledBatch {
            state: BatchState::Started,
            ..rejected(Cause::Refused, 1)
        };
        assert_eq!(
            started.outcome_of(Member {
                refused: true,
                errors: 0
            }),
            None
        );
    }
}
