//! The conditional writes of the record. Each is one step, which no other process can interrupt.
//!
//! The states from which a message may come are those of [`State::sources`], of which the product
//! makes its conditions too. The conditions on batches restate those of the crate `record`, which
//! are DynamoDB expressions.

use domain::batch::{BatchState, Cause};
use domain::member::{Member, MemberOutcome, SettledBatch};
use domain::state::State;

use super::Protocol;
use super::sets::Set;
use super::settings::Mutant;
use super::world::{Batch, BatchNo, Message, MessageNo, Owner, World};

/// What the record answers to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Done,
    /// The condition did not hold.
    ConditionFailed,
    /// The batch after a write that settles it, or one that finds it in the way.
    Found(Option<Snapshot>),
}

/// A batch as a process has read it. The batch may have changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Snapshot {
    Started,
    Unknown {
        attempts: u8,
    },
    Confirmed {
        refused: Set,
    },
    /// If an operator decided so, whether the members go out with another batch.
    Rejected {
        decision: Option<bool>,
    },
    Abandoned,
}

/// The outcome with which a batch is to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outcome {
    Confirmed { refused: Set },
    Rejected { attempts: u8, because: Cause },
    Unknown,
}

impl From<bool> for Reply {
    fn from(held: bool) -> Self {
        if held {
            Reply::Done
        } else {
            Reply::ConditionFailed
        }
    }
}

impl Snapshot {
    pub(super) fn state(self) -> BatchState {
        match self {
            Snapshot::Started => BatchState::Started,
            Snapshot::Unknown { .. } => BatchState::Unknown,
            Snapshot::Confirmed { .. } => BatchState::Confirmed,
            Snapshot::Rejected { .. } => BatchState::Rejected,
            Snapshot::Abandoned => BatchState::Abandoned,
        }
    }
}

impl Batch {
    /// The batch as a process reads it; none while it is not in the record.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        Some(match self.state? {
            BatchState::Started => Snapshot::Started,
            BatchState::Unknown => Snapshot::Unknown {
                attempts: self.attempts,
            },
            BatchState::Confirmed => Snapshot::Confirmed {
                refused: self.refused,
            },
            BatchState::Rejected => Snapshot::Rejected {
                decision: self.decision,
            },
            BatchState::Abandoned => Snapshot::Abandoned,
        })
    }
}

impl Protocol {
    /// W1: the message is recorded, and its bell is still to be sent.
    pub(super) fn accept(&self, world: &mut World, message: MessageNo) {
        *world.message_mut(message) = Message {
            state: Some(State::Accepted),
            bell_unsent: true,
            ..Default::default()
        };
    }

    /// W2: claims a valid message that waits. A claim for the same batch counts as its own, made
    /// before.
    pub(super) fn claim(&self, world: &mut World, message: MessageNo, batch: BatchNo) -> Reply {
        let claimed = world.message_mut(message);
        if claimed.is(State::Sending) && claimed.batch == Some(batch) {
            return Reply::Done;
        }
        if !claimed.lapsed && may_become(claimed, State::Sending) {
            claimed.state = Some(State::Sending);
            claimed.batch = Some(batch);
            return Reply::Done;
        }
        self.is(Mutant::NoClaim).into()
    }

    /// W3: writes the intent, unless the batch is in the record. An intent of the same dispatcher
    /// counts as its own.
    pub(super) fn start(&self, world: &mut World, batch: BatchNo, members: Set) -> Reply {
        let started = world.batch_mut(batch);
        let own = started.is(BatchState::Started)
            && started.owner == Owner::Dispatcher
            && started.attempts == 1;
        if started.state.is_some() && !own {
            return Reply::Found(started.snapshot());
        }
        let state = Some(BatchState::Started);
        *started = Batch {
            state,
            members,
            attempts: 1,
            owner: Owner::Dispatcher,
            ..Default::default()
        };
        Reply::Done
    }

    /// W4: counts one more attempt after attempt number `attempts`, or finds that its own was
    /// counted before. A batch in doubt allows another attempt only under a key that lives.
    pub(super) fn count_attempt(
        &self,
        world: &mut World,
        (batch, owner): (BatchNo, Owner),
        attempts: u8,
        keyed: bool,
    ) -> Reply {
        let again = world.batch_mut(batch);
        let is_own = again.owner == owner;
        let is_repeat = is_own && again.attempts == attempts + 1;
        let allowed = if keyed {
            again.is_open() && (again.attempts == attempts || is_repeat)
        } else {
            again.is(BatchState::Started) && is_own && (again.attempts == attempts || is_repeat)
        };
        if allowed {
            again.attempts = attempts + 1;
            again.owner = owner;
            return Reply::Done;
        }
        Reply::ConditionFailed
    }

    /// W5: records the outcome of a batch, unless the record knows better.
    pub(super) fn settle(&self, world: &mut World, batch: BatchNo, outcome: Outcome) -> Reply {
        let settled = world.batch_mut(batch);
        let Batch {
            attempts: made,
            ambiguous,
            ..
        } = *settled;
        let (holds, to) = match outcome {
            Outcome::Confirmed { .. } => (
                settled.is_open() || settled.is(BatchState::Confirmed),
                BatchState::Confirmed,
            ),
            // An operator decides about a batch in doubt, but not about requests that were begun
            // after the decision.
            Outcome::Rejected {
                attempts,
                because: Cause::Decision { .. },
            } => {
                let last = attempts == made || self.is(Mutant::OutdatedDecision);
                (
                    settled.is(BatchState::Unknown) && last,
                    BatchState::Rejected,
                )
            }
            // The last attempt begun was not sent, and there is no doubt about the earlier ones.
            Outcome::Rejected { attempts, .. } => {
                let last = attempts == made || self.is(Mutant::NoAttemptFence);
                let careless = self.is(Mutant::RejectAfterDoubt) || self.is(Mutant::NoAttemptFence);
                (
                    settled.is_open() && last && (!ambiguous || careless),
                    BatchState::Rejected,
                )
            }
            Outcome::Unknown => (settled.is_open(), BatchState::Unknown),
        };
        if holds {
            settled.state = Some(to);
            settled.ambiguous |= outcome == Outcome::Unknown;
            if let Outcome::Confirmed { refused } = outcome {
                settled.refused = settled.refused.union(refused);
            }
            if let Outcome::Rejected {
                because: Cause::Decision { requeue },
                ..
            } = outcome
            {
                settled.decision = Some(requeue);
            }
        }
        Reply::Found(settled.snapshot())
    }

    /// W6 or W8: applies the outcome of a batch to a message, as [`SettledBatch::outcome_of`]
    /// decides. `because` says why the batch was rejected, as far as the process knows.
    pub(super) fn apply_outcome(
        &self,
        world: &mut World,
        (message, batch): (MessageNo, BatchNo),
        snapshot: Snapshot,
        because: Cause,
    ) {
        let decided = match snapshot {
            Snapshot::Rejected {
                decision: Some(requeue),
            } => Cause::Decision { requeue },
            _ => because,
        };
        let settled = SettledBatch {
            state: snapshot.state(),
            because: decided,
            size: world.batch(batch).members.count() as usize,
            error_batches_max: self.settings.errors_max.into(),
        };
        let refused = matches!(snapshot, Snapshot::Confirmed { refused } if refused.has(message));
        let member = Member {
            refused,
            errors: world.message(message).errors.into(),
        };
        if let Some(outcome) = settled.outcome_of(member) {
            self.change_member(world, message, batch, outcome);
        }
    }

    /// The write that changes a member.
    fn change_member(
        &self,
        world: &mut World,
        message: MessageNo,
        batch: BatchNo,
        outcome: MemberOutcome,
    ) {
        match outcome {
            MemberOutcome::Confirmed => {
                if self.is(Mutant::UnconditionalConfirm) {
                    world.message_mut(message).state = Some(State::Confirmed);
                }
                self.move_member(world, message, batch, State::Confirmed);
            }
            MemberOutcome::Unconfirmed if self.is(Mutant::TimeoutIsNotSent) => {
                self.move_member(world, message, batch, State::NotSent);
            }
            MemberOutcome::Unconfirmed => {
                self.move_member(world, message, batch, State::Unconfirmed);
            }
            MemberOutcome::Released => {
                self.release(world, message, batch);
            }
            MemberOutcome::ReleasedAfterError { .. } => {
                if self.release(world, message, batch) {
                    world.message_mut(message).errors += 1;
                }
            }
            MemberOutcome::ReleasedApart { .. } => {
                if self.release(world, message, batch) {
                    world.message_mut(message).alone = !self.is(Mutant::HalvesGatheredAgain);
                }
            }
            MemberOutcome::Requeued => self.requeue(world, message, batch),
            MemberOutcome::NotSent(_) => {
                self.move_member(world, message, batch, State::NotSent);
            }
            MemberOutcome::RefusedAlone => self.refuse_one(world, message, batch),
        }
    }

    /// W7: writes the tombstone of a batch that is not in the record.
    pub(super) fn abandon(&self, world: &mut World, batch: BatchNo) -> Reply {
        let abandoned = world.batch_mut(batch);
        abandoned.state = abandoned.state.or(Some(BatchState::Abandoned));
        abandoned.is(BatchState::Abandoned).into()
    }

    /// W8: the message leaves the batch and waits again.
    pub(super) fn release(&self, world: &mut World, message: MessageNo, batch: BatchNo) -> bool {
        self.move_member(world, message, batch, State::Accepted)
    }

    /// W8 by an operator's decision: the message waits again, even if it is UNCONFIRMED.
    fn requeue(&self, world: &mut World, message: MessageNo, batch: BatchNo) {
        let requeued = world.message_mut(message);
        if requeued.batch == Some(batch)
            && (requeued.is(State::Unconfirmed) || may_become(requeued, State::Accepted))
        {
            (requeued.state, requeued.batch) = (Some(State::Accepted), None);
        }
    }

    /// W9: applies a report to a message that is still in the state in which it was `seen`.
    pub(super) fn report(
        &self,
        world: &mut World,
        message: MessageNo,
        seen: State,
        to: State,
    ) -> Reply {
        let reported = world.message_mut(message);
        if !reported.is(seen) {
            return Reply::ConditionFailed;
        }
        reported.state = Some(to);
        if to.is_final() {
            world.witness.first_final[usize::from(message)].get_or_insert(to);
        }
        Reply::Done
    }

    /// W11: ends a message that is too late to be sent, unless it is claimed.
    pub(super) fn expire(&self, world: &mut World, message: MessageNo) {
        let claimed_too = self.is(Mutant::ExpireClaimed);
        let expired = world.message_mut(message);
        if expired.is(State::Accepted) || (claimed_too && may_become(expired, State::NotSent)) {
            expired.state = Some(State::NotSent);
        }
    }

    /// W6 of a member that the provider refused. The refusal outranks the CONFIRMED that a report
    /// about another member led to, so this transition also starts there.
    fn refuse_one(&self, world: &mut World, message: MessageNo, batch: BatchNo) {
        let refused = world.message_mut(message);
        let correctable = refused.is(State::Confirmed) && !self.is(Mutant::ReportBeatsRefusal);
        if refused.batch == Some(batch) && (correctable || may_become(refused, State::NotSent)) {
            refused.state = Some(State::NotSent);
        }
    }

    /// A transition that a message makes only while it names the batch.
    pub(super) fn move_member(
        &self,
        world: &mut World,
        message: MessageNo,
        batch: BatchNo,
        to: State,
    ) -> bool {
        let shifted = world.message_mut(message);
        let holds = shifted.batch == Some(batch) && may_become(shifted, to);
        if holds {
            shifted.state = Some(to);
            shifted.batch = shifted.batch.filter(|_| to != State::Accepted);
        }
        holds
    }
}

/// Whether there is a transition from the state of the message to this one.
fn may_become(message: &Message, to: State) -> bool {
    message
        .state
        .is_some_and(|from| to.sources().contains(&from))
}
