//! The sweep: it finds batches that a stopped process left unfinished, and finishes them by what
//! the record shows. A dispatcher recovers batches in the same way.
//!
//! A sweep writes some time after it has read. In between, a dispatcher that is still alive or the
//! other sweep may have changed the batch; only the conditions of its writes make that harmless.

use domain::batch::{BatchState, Cause};
use domain::recovery::{FoundBatch, RecoveryStep, next_step};
use domain::state::State;

use super::Protocol;
use super::provider::Answer;
use super::sets::Set;
use super::settings::{Event, Mutant};
use super::world::{BatchNo, MessageNo, Owner, World};
use super::writes::{Outcome, Reply, Snapshot};

/// Limits how often a sweep repeats a refused request. The real one repeats it until the key is too
/// old.
const ATTEMPTS_MAX: u8 = 8;

/// The batch that a sweep works on, and the messages that it found to wait for the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Visit {
    pub(super) batch: BatchNo,
    held: Set,
    /// The sweep itself has recorded the outcome, which therefore concerns all members and not only
    /// those it found.
    applies_to_all: bool,
    pub(super) step: Step,
}

/// Its next step, which concerns the first message of `todo` where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// W7, because there is no such batch.
    Abandon,
    /// W8 of messages that name the batch and are not members of it, whatever became of the batch.
    ReleaseStrangers { snapshot: Snapshot, todo: Set },
    /// W5 UNKNOWN.
    RecordDoubt,
    /// W4 after these attempts, to repeat the same request under the same key.
    CountAttempt { attempts: u8 },
    /// The request, and its answer.
    Send,
    /// W5.
    RecordOutcome { outcome: Outcome },
    /// W6, or W8.
    ApplyOutcome { snapshot: Snapshot, todo: Set },
}

impl Protocol {
    /// Whether there is something to do about a batch whose dispatcher is gone, or seems to be.
    pub(super) fn needs_recovery(&self, world: &World, batch: BatchNo) -> bool {
        let found = world.batch(batch);
        let claimed = !world.held(batch, State::Sending).is_empty();
        let doubt = found.is(BatchState::Started)
            || (found.is(BatchState::Unknown) && self.may_repeat(world, batch));
        let pending = !found.is_open() && !self.found(world, batch).is_empty();
        // The batch stays open until the outcome was applied to its refused members.
        let disputed = !self.disputed(world, batch).is_empty();
        let work = (claimed || doubt || pending || disputed) && !self.is(Mutant::NoSweep);
        work && (!world.has_dispatcher(batch) || self.may(world, Event::Premature))
    }

    /// The messages that name this batch and wait for its outcome.
    fn found(&self, world: &World, batch: BatchNo) -> Set {
        let doubtful = if self.is(Mutant::UnconfirmedForgotten) {
            None
        } else {
            Some(State::Unconfirmed)
        };
        let doubtful = doubtful.filter(|_| {
            world.batch(batch).decision.is_none() || !self.is(Mutant::DecisionForgotten)
        });
        let states = [Some(State::Sending), doubtful].into_iter().flatten();
        let found = states.fold(Set::EMPTY, |found, state| {
            found.union(world.held(batch, state))
        });
        found.union(self.disputed(world, batch))
    }

    /// The members that the provider refused, and that a report about another member made
    /// CONFIRMED.
    fn disputed(&self, world: &World, batch: BatchNo) -> Set {
        let forgotten = self.is(Mutant::RefusalForgotten) || self.is(Mutant::ReportBeatsRefusal);
        world
            .held(batch, State::Confirmed)
            .filter(|message| world.batch(batch).refused.has(message) && !forgotten)
    }

    /// Whether a batch in doubt may be sent again: the provider must be certain to recognise its
    /// key.
    fn may_repeat(&self, world: &World, batch: BatchNo) -> bool {
        let remembered = self.is_remembered(world, batch) || self.is(Mutant::SweepOutlivesKey);
        self.is_keyed() && remembered && world.batch(batch).attempts < ATTEMPTS_MAX
    }

    /// A sweep reads the messages that name a batch, and the batch.
    pub(super) fn start_visit(&self, world: &mut World, sweep: u8, batch: BatchNo) {
        if world.has_dispatcher(batch) {
            world.happened.count(Event::Premature);
        }
        let held = self.found(world, batch);
        let strangers = held.without(world.batch(batch).members);
        let visit = Visit {
            batch,
            held,
            applies_to_all: false,
            step: Step::Abandon,
        };
        let step = match world.batch(batch).snapshot() {
            None if self.is(Mutant::TombstoneLeftToOther) && is_at_tombstone(world, batch) => {
                Some(Step::ApplyOutcome {
                    snapshot: Snapshot::Abandoned,
                    todo: held,
                })
            }
            None => Some(Step::Abandon),
            Some(snapshot) if !strangers.is_empty() && !self.is(Mutant::NoMembership) => {
                Some(Step::ReleaseStrangers {
                    snapshot,
                    todo: strangers,
                })
            }
            Some(snapshot) => self.continue_visit(world, &visit, snapshot),
        };
        world.sweeps[usize::from(sweep)] = step.map(|step| Visit { step, ..visit });
    }

    /// What to do about a batch in this state: [`next_step`] decides.
    fn continue_visit(&self, world: &World, visit: &Visit, snapshot: Snapshot) -> Option<Step> {
        let key_lives = self.may_repeat(world, visit.batch);
        let found = FoundBatch {
            state: snapshot.state(),
            attended: false,
            key_lives,
        };
        match (next_step(Some(found)), snapshot) {
            (RecoveryStep::RecordDoubt, _) if self.is(Mutant::LateIsUnsent) => {
                self.applying(world, visit, Snapshot::Rejected { decision: None })
            }
            (RecoveryStep::RecordDoubt, _) => Some(Step::RecordDoubt),
            (RecoveryStep::Resend, Snapshot::Unknown { attempts }) => {
                Some(Step::CountAttempt { attempts })
            }
            _ => self.applying(world, visit, snapshot),
        }
    }

    fn applying(&self, world: &World, visit: &Visit, snapshot: Snapshot) -> Option<Step> {
        let members = world.batch(visit.batch).members;
        let named = visit
            .held
            .filter(|message| members.has(message) || self.is(Mutant::NoMembership));
        let todo = if visit.applies_to_all {
            members.union(named)
        } else {
            named
        };
        Some(Step::ApplyOutcome { snapshot, todo })
            .filter(|_| !todo.is_empty() && snapshot != Snapshot::Started)
    }

    /// The write that a sweep's step makes, as the record sees it.
    pub(super) fn sweep_writes(&self, world: &mut World, owner: Owner, visit: &Visit) -> Reply {
        let &Visit { batch, step, .. } = visit;
        match (step, visit.todo().first()) {
            (Step::Abandon, _) if self.is(Mutant::NoTombstone) => Reply::Done,
            (Step::Abandon, _) => self.abandon(world, batch),
            (Step::ReleaseStrangers { .. }, Some(first)) => {
                self.release(world, first, batch);
                Reply::Done
            }
            (Step::RecordDoubt, _) => self.settle(world, batch, Outcome::Unknown),
            (Step::CountAttempt { .. }, _) if !self.may_repeat(world, batch) => {
                Reply::ConditionFailed
            }
            (Step::CountAttempt { attempts }, _) => {
                self.count_attempt(world, (batch, owner), attempts, true)
            }
            (Step::RecordOutcome { outcome }, _) => self.settle(world, batch, outcome),
            (Step::ApplyOutcome { snapshot, .. }, Some(first)) => {
                // The sweep does not know why a batch was rejected, so its members go out again.
                self.apply_outcome(world, (first, batch), snapshot, Cause::Unavailable);
                Reply::Done
            }
            // A request is not a write.
            (Step::Send, _) | (_, None) => Reply::ConditionFailed,
        }
    }

    /// What a sweep does after the record's answer.
    pub(super) fn sweep_gets_reply(&self, world: &mut World, sweep: u8, reply: Reply) {
        let Some(mut visit) = world.sweeps[usize::from(sweep)] else {
            return;
        };
        let rest = visit.todo().rest();
        let next = match (visit.step, reply) {
            (Step::Abandon, Reply::Done) => Some(Step::ApplyOutcome {
                snapshot: Snapshot::Abandoned,
                todo: visit.held,
            }),
            (Step::ReleaseStrangers { snapshot, .. }, _) => match rest {
                Some(todo) => Some(Step::ReleaseStrangers { snapshot, todo }),
                None => self.continue_visit(world, &visit, snapshot),
            },
            (Step::RecordDoubt, Reply::Found(Some(snapshot))) => {
                visit.applies_to_all = true;
                self.continue_visit(world, &visit, snapshot)
            }
            (Step::CountAttempt { .. }, Reply::Done) => Some(Step::Send),
            // Another process repeats the request, or the key is too old by now.
            (Step::CountAttempt { attempts }, _) => {
                self.applying(world, &visit, Snapshot::Unknown { attempts })
            }
            (Step::RecordOutcome { .. }, Reply::Found(Some(snapshot))) => {
                visit.applies_to_all |= !matches!(snapshot, Snapshot::Unknown { .. });
                self.applying(world, &visit, snapshot)
            }
            (Step::ApplyOutcome { snapshot, .. }, _) => {
                rest.map(|todo| Step::ApplyOutcome { snapshot, todo })
            }
            _ => None,
        };
        match next {
            Some(step) => world.sweeps[usize::from(sweep)] = Some(Visit { step, ..visit }),
            None => self.sweep_stops(world, sweep),
        }
    }

    /// What a sweep does after the provider's answer to a repetition. Only an acceptance settles
    /// the doubt; every other answer is about the repetition alone.
    pub(super) fn sweep_gets_answer(&self, world: &mut World, sweep: u8, answer: Answer) {
        let Some(visit) = world.sweeps[usize::from(sweep)] else {
            return;
        };
        let attempts = world.batch(visit.batch).attempts;
        let outcome = match answer {
            Answer::Taken { refused } => Outcome::Confirmed { refused },
            Answer::Error if self.is(Mutant::RepeatProves) => Outcome::Rejected {
                attempts,
                because: Cause::Decision { requeue: true },
            },
            _ => Outcome::Unknown,
        };
        world.sweeps[usize::from(sweep)] = Some(Visit {
            step: Step::RecordOutcome { outcome },
            ..visit
        });
    }

    /// The sweep has ended or was stopped. No later one has its owner token.
    pub(super) fn sweep_stops(&self, world: &mut World, sweep: u8) {
        world.sweeps[usize::from(sweep)] = None;
        for batch in &mut world.batches {
            if batch.owner == Owner::Sweep(sweep) {
                batch.owner = Owner::Gone;
            }
        }
    }

    /// Whether a message waits whose validity has ended.
    pub(super) fn is_due(&self, world: &World, message: MessageNo) -> bool {
        let seen = world.message(message);
        let claimed_too = self.is(Mutant::ExpireClaimed) && seen.is(State::Sending);
        seen.lapsed && (seen.is(State::Accepted) || claimed_too) && !self.is(Mutant::NoSweep)
    }

    /// Whether a message waits and nothing will wake a dispatcher for it.
    pub(super) fn needs_bell(&self, world: &World, message: MessageNo) -> bool {
        let held = world
            .dispatchers
            .iter()
            .flatten()
            .any(|work| work.bells.has(message));
        let waits = world.message(message).waits() && !world.message(message).bell_unsent;
        waits && world.bells[usize::from(message)] == 0 && !held && !self.is(Mutant::NoSweep)
    }
}

impl Visit {
    fn todo(&self) -> Set {
        match self.step {
            Step::ReleaseStrangers { todo, .. } | Step::ApplyOutcome { todo, .. } => todo,
            _ => Set::EMPTY,
        }
    }
}

/// Whether some sweep is about to write the tombstone of this batch.
fn is_at_tombstone(world: &World, batch: BatchNo) -> bool {
    world
        .sweeps
        .iter()
        .flatten()
        .any(|visit| visit.batch == batch && visit.step == Step::Abandon)
}
