//! The dispatcher: it claims messages, writes the intent, sends, records the outcome and applies it
//! to the members.

use domain::attempt::{Attempts, Ending, NextStep};
use domain::batch::{BatchState, Cause};
use domain::bell::has_to_ring;

use super::Protocol;
use super::provider::Answer;
use super::sets::Set;
use super::settings::{Event, Mutant};
use super::world::{BatchNo, Owner, World};
use super::writes::{Outcome, Reply, Snapshot};

/// The batch that a dispatcher works on, from the first claim to the last applied outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Task {
    pub(super) batch: BatchNo,
    /// The bells that woke it.
    pub(super) bells: Set,
    pub(super) members: Set,
    /// Messages that may be claimed: the record's answer was lost.
    doubtful: Set,
    /// An attempt went unanswered.
    ambiguous: bool,
    pub(super) step: Step,
}

/// Its next step. Each but `Send` is one write, to the first message of `todo` where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// W2.
    Claim { todo: Set },
    /// W3.
    WriteIntent,
    /// W8 of messages that may have been claimed and are not members.
    ReleaseStrangers { todo: Set },
    /// The request, and its answer.
    Send { attempt: u8 },
    /// W5 UNKNOWN, before an unanswered request is repeated under its key.
    RecordDoubt { attempt: u8 },
    /// W4 after this attempt, to begin another one.
    CountAttempt { attempt: u8 },
    /// W5.
    RecordOutcome { outcome: Outcome },
    /// W6.
    ApplyOutcome {
        snapshot: Snapshot,
        because: Cause,
        todo: Set,
    },
    /// W7: nothing was sent, and the tombstone keeps it so.
    Abandon,
    /// W5 REJECTED, because the intent was written after all and no request followed it.
    Reject,
    /// W8 of every message that the dispatcher claimed, or may have claimed.
    ReleaseHeld { todo: Set },
}

impl Protocol {
    /// Bells wake a dispatcher. It begins a batch with what waits, unless none of the bells'
    /// messages does.
    pub(super) fn wake(&self, world: &mut World, dispatcher: u8, bells: Set, duplicate: bool) {
        if duplicate {
            world.happened.count(Event::Duplicate);
        } else {
            bells
                .iter()
                .for_each(|message| world.bells[usize::from(message)] -= 1);
        }
        if bells.intersects(world.waiting()) {
            self.begin(world, dispatcher, bells, world.next_batch());
        } else {
            give_back(world, bells);
        }
    }

    /// Begins a batch, for which `todo` is to be claimed.
    fn begin(&self, world: &mut World, dispatcher: u8, bells: Set, todo: Set) {
        let Some(batch) = world.unused() else {
            world.witness.exhausted = true;
            return;
        };
        let (none, step) = (Set::EMPTY, Step::Claim { todo });
        world.dispatchers[usize::from(dispatcher)] = Some(Task {
            batch,
            bells,
            members: none,
            doubtful: none,
            ambiguous: false,
            step,
        });
    }

    /// The write that a dispatcher's step makes, as the record sees it.
    pub(super) fn dispatcher_writes(&self, world: &mut World, task: &Task) -> Reply {
        let &Task {
            batch,
            members,
            step,
            ..
        } = task;
        let late = self.is(Mutant::IntentAfterRequest);
        match (step, task.todo().first()) {
            (Step::Claim { .. }, Some(first)) => self.claim(world, first, batch),
            (Step::WriteIntent, _) if late => Reply::Done,
            (Step::WriteIntent, _) => self.start(world, batch, members),
            (Step::ReleaseStrangers { .. } | Step::ReleaseHeld { .. }, Some(first)) => {
                self.release(world, first, batch);
                Reply::Done
            }
            (Step::RecordDoubt { .. }, _) => self.settle(world, batch, Outcome::Unknown),
            (Step::CountAttempt { attempt }, _) => {
                let keyed =
                    self.is_remembered(world, batch) || self.is(Mutant::DispatcherOutlivesKey);
                self.count_attempt(world, (batch, Owner::Dispatcher), attempt, keyed)
            }
            (Step::RecordOutcome { outcome }, _) => {
                if late {
                    self.start(world, batch, members);
                }
                self.settle(world, batch, outcome)
            }
            (
                Step::ApplyOutcome {
                    snapshot, because, ..
                },
                Some(first),
            ) => {
                self.apply_outcome(world, (first, batch), snapshot, because);
                Reply::Done
            }
            (Step::Abandon, _) => self.abandon(world, batch),
            (Step::Reject, _) => self.settle(
                world,
                batch,
                Outcome::Rejected {
                    attempts: 1,
                    because: Cause::Unavailable,
                },
            ),
            // A request is not a write.
            (Step::Send { .. }, _) | (_, None) => Reply::ConditionFailed,
        }
    }

    /// What a dispatcher does after the record's answer, or after it gave the write up without one.
    pub(super) fn dispatcher_gets_reply(
        &self,
        world: &mut World,
        dispatcher: u8,
        reply: Option<Reply>,
    ) {
        let Some(mut task) = world.dispatchers[usize::from(dispatcher)] else {
            return;
        };
        let rest = task.todo().rest();
        let next = match (task.step, reply) {
            (Step::Claim { .. }, _) => task.claimed(reply),
            (Step::WriteIntent | Step::Abandon | Step::Reject, _) => {
                self.intended(&mut task, reply)
            }
            (Step::ReleaseStrangers { .. }, _) => Some(
                rest.map_or(Step::Send { attempt: 1 }, |todo| Step::ReleaseStrangers {
                    todo,
                }),
            ),
            (Step::RecordDoubt { attempt }, Some(_)) => Some(Step::CountAttempt { attempt }),
            (Step::RecordDoubt { .. }, None) => Some(Step::RecordOutcome {
                outcome: Outcome::Unknown,
            }),
            (Step::CountAttempt { attempt }, Some(Reply::Done)) => Some(Step::Send {
                attempt: attempt + 1,
            }),
            // Another process took the batch over, the key is too old, or the record does not
            // answer: the dispatcher records what it knows.
            (Step::CountAttempt { attempt }, _) => Some(self.ended_unsent(&task, attempt)),
            (Step::RecordOutcome { outcome }, Some(Reply::Found(Some(snapshot)))) => {
                recounted(world, &task, outcome).or_else(|| applying(&task, snapshot, outcome))
            }
            // The record does not answer, or another outcome stands. Recovery finishes the batch.
            (Step::RecordOutcome { .. }, _) => return self.dispatcher_stops(world, dispatcher),
            (
                Step::ApplyOutcome {
                    snapshot, because, ..
                },
                _,
            ) => rest.map(|todo| Step::ApplyOutcome {
                snapshot,
                because,
                todo,
            }),
            (Step::ReleaseHeld { .. }, _) => rest.map(|todo| Step::ReleaseHeld { todo }),
            (Step::Send { .. }, _) => return,
        };
        match next {
            Some(step) => world.dispatchers[usize::from(dispatcher)] = Some(Task { step, ..task }),
            None => self.finish(world, dispatcher, task),
        }
    }

    /// What follows the intent: the first attempt, or its withdrawal. Only a tombstone (W7) or
    /// REJECTED (W5) shows that no process sends the batch, so that its claims may be released.
    fn intended(&self, task: &mut Task, reply: Option<Reply>) -> Option<Step> {
        let (members, held) = (task.members, task.members.union(task.doubtful));
        let careless = self.is(Mutant::TombstoneIgnored);
        match (task.step, reply) {
            (Step::WriteIntent, Some(Reply::Done)) if task.doubtful.is_empty() => {
                Some(Step::Send { attempt: 1 })
            }
            (Step::WriteIntent, Some(Reply::Done)) => Some(Step::ReleaseStrangers {
                todo: task.doubtful,
            }),
            // A sweep abandoned the batch. Any other state belongs to the process that wrote it.
            (Step::WriteIntent, Some(Reply::Found(found))) => {
                let releases =
                    found == Some(Snapshot::Abandoned) || self.is(Mutant::LostIntentReleases);
                releases.then_some(Step::ReleaseHeld { todo: members })
            }
            (Step::WriteIntent, _) => Some(Step::Abandon),
            (Step::Abandon, Some(Reply::Done)) => Some(Step::ReleaseHeld { todo: held }),
            (Step::Abandon, _) if careless => Some(Step::ReleaseHeld { todo: held }),
            (Step::Abandon, Some(_)) => Some(Step::Reject),
            (Step::Reject, Some(Reply::Found(Some(Snapshot::Rejected { decision: None })))) => {
                Some(Step::ReleaseHeld { todo: held })
            }
            _ => None,
        }
    }

    /// What a dispatcher does after the provider's answer: [`Attempts::after`] decides.
    pub(super) fn dispatcher_gets_answer(&self, world: &mut World, dispatcher: u8, answer: Answer) {
        let Some(mut task) = world.dispatchers[usize::from(dispatcher)] else {
            return;
        };
        let Step::Send { attempt } = task.step else {
            return;
        };
        task.ambiguous |= answer == Answer::None;
        let key_lives = self.is_remembered(world, task.batch)
            || (self.is_keyed() && self.is(Mutant::DispatcherOutlivesKey));
        let attempts = self.attempts(&task, attempt, key_lives);
        let careless = self.is(Mutant::RepeatAfterTimeout) && attempts.made < attempts.max;
        let splits = self.is(Mutant::SplitBeforeReject) && task.members.count() > 1;
        task.step = match (answer, attempts.after(answer.class())) {
            (Answer::None, _) if careless => Step::CountAttempt { attempt },
            (Answer::Refused, _) if splits => Step::ApplyOutcome {
                snapshot: Snapshot::Rejected { decision: None },
                because: Cause::Refused,
                todo: task.members,
            },
            (_, NextStep::TryAgain) => Step::CountAttempt { attempt },
            (_, NextStep::RecordDoubtAndTryAgain) => Step::RecordDoubt { attempt },
            (Answer::Taken { refused }, _) => Step::RecordOutcome {
                outcome: Outcome::Confirmed { refused },
            },
            (_, NextStep::End(ending)) => ended(ending, attempt),
        };
        world.dispatchers[usize::from(dispatcher)] = Some(task);
    }

    fn attempts(&self, task: &Task, made: u8, key_lives: bool) -> Attempts {
        Attempts {
            made: made.into(),
            max: self.settings.attempts_max.into(),
            provider_works: true,
            key_lives,
            ambiguous: task.ambiguous && !self.is(Mutant::RejectAfterDoubt),
        }
    }

    /// The dispatcher is stopped. SQS delivers its bells again; everything else it knew is lost.
    pub(super) fn dispatcher_stops(&self, world: &mut World, dispatcher: u8) {
        if let Some(task) = world.dispatchers[usize::from(dispatcher)].take() {
            task.bells.iter().for_each(|message| world.ring(message));
        }
    }

    /// The outcome of a batch for which no further attempt could be counted.
    fn ended_unsent(&self, task: &Task, attempt: u8) -> Step {
        ended(
            self.attempts(task, attempt, false)
                .not_sent(Cause::Unavailable),
            attempt,
        )
    }

    /// The batch is finished, and the dispatcher is idle again.
    fn finish(&self, world: &mut World, dispatcher: u8, task: Task) {
        world.dispatchers[usize::from(dispatcher)] = None;
        give_back(world, task.bells);
    }
}

impl Task {
    fn todo(&self) -> Set {
        match self.step {
            Step::Claim { todo }
            | Step::ReleaseStrangers { todo }
            | Step::ApplyOutcome { todo, .. }
            | Step::ReleaseHeld { todo } => todo,
            _ => Set::EMPTY,
        }
    }

    /// Notes whether the first message to claim was claimed, and chooses the next step.
    fn claimed(&mut self, reply: Option<Reply>) -> Option<Step> {
        let first = self.todo().first().map_or(Set::EMPTY, Set::of);
        match reply {
            Some(Reply::Done) => self.members = self.members.union(first),
            Some(_) => {}
            None => self.doubtful = self.doubtful.union(first),
        }
        match self.todo().rest() {
            Some(todo) => Some(Step::Claim { todo }),
            None if !self.members.is_empty() => Some(Step::WriteIntent),
            None if !self.doubtful.is_empty() => Some(Step::Abandon),
            None => None,
        }
    }
}

/// The step that records (W5) how the attempts ended, where the provider did not accept the batch.
fn ended(ending: Ending, attempts: u8) -> Step {
    let outcome = match ending {
        Ending::Rejected(because) => Outcome::Rejected { attempts, because },
        Ending::Confirmed | Ending::Unknown => Outcome::Unknown,
    };
    Step::RecordOutcome { outcome }
}

/// The step that applies the outcome to the members. A batch that is still STARTED is left to
/// recovery.
fn applying(task: &Task, snapshot: Snapshot, outcome: Outcome) -> Option<Step> {
    let because = match outcome {
        Outcome::Rejected { because, .. } => because,
        Outcome::Confirmed { .. } | Outcome::Unknown => Cause::Unavailable,
    };
    let apply = Step::ApplyOutcome {
        snapshot,
        because,
        todo: task.members,
    };
    (snapshot != Snapshot::Started).then_some(apply)
}

/// The step that repeats W5 with the right number, where the dispatcher's own W4 had counted one
/// more attempt in a write whose answer was lost.
fn recounted(world: &World, task: &Task, outcome: Outcome) -> Option<Step> {
    let Outcome::Rejected { attempts, because } = outcome else {
        return None;
    };
    let found = world.batch(task.batch);
    let own = found.is(BatchState::Started)
        && found.owner == Owner::Dispatcher
        && found.attempts == attempts + 1;
    let outcome = Outcome::Rejected {
        attempts: attempts + 1,
        because,
    };
    own.then_some(Step::RecordOutcome { outcome })
}

/// Gives back the bells of messages that are not finished, so that they ring again.
fn give_back(world: &mut World, bells: Set) {
    let again = |message| {
        let seen = world.message(message);
        !seen.lapsed_unsent() && seen.state.is_some_and(has_to_ring)
    };
    bells
        .filter(again)
        .iter()
        .for_each(|message| world.ring(message));
}
