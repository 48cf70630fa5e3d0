//! Sweep: finds what was left behind, and finishes it by what the record proves. Dispatch does the same.
//!
//! A sweep reads, and writes later: what it acts on may have changed in between, by a courier that is not dead
//! or by the other sweep. Only the conditions of its writes keep that harmless.

use shared::batch::BatchState;
use shared::state::State;

use super::Protocol;
use super::provider::Answer;
use super::sets::Set;
use super::settings::{Event, Mutant};
use super::world::{BatchNo, MessageNo, Owner, World};
use super::writes::{Fate, Outcome, Reply, Standing};

/// A sweep would repeat a request that is refused until its key is too old; here, it gives up counting.
const ATTEMPTS_MAX: u8 = 8;

/// A sweep at a batch, and at the messages that it found claimed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Visit {
    pub(super) batch: BatchNo,
    held: Set,
    /// It found out more than it read: all the members are to be told, not only those that it found.
    news: bool,
    pub(super) step: Step,
}

/// Its next step, for the first of `todo` where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// W7: no such batch was found.
    Bury,
    /// W8 of those that name the batch and are no members, whatever became of it.
    Free { standing: Standing, todo: Set },
    /// W5 UNKNOWN.
    Doubt,
    /// W4 after these attempts: the same bytes under the same key will tell.
    Register { attempts: u8 },
    /// The request, and its answer.
    Offer,
    /// W5.
    Record { outcome: Outcome },
    /// W6, or W8.
    Tell { standing: Standing, todo: Set },
}

impl Protocol {
    /// There is something to do about a batch, and its courier's time is over, or seems to be.
    pub(super) fn is_left_behind(&self, world: &World, batch: BatchNo) -> bool {
        let found = world.batch(batch);
        let claimed = !world.held(batch, State::Sending).is_empty();
        let doubt = found.is(BatchState::Started) || (found.is(BatchState::Unknown) && self.may_repeat(world, batch));
        let untold = !found.is_open() && !self.found(world, batch).is_empty();
        // It stays listed as open until its refused members have been told.
        let disputed = !self.disputed(world, batch).is_empty();
        let work = (claimed || doubt || untold || disputed) && !self.is(Mutant::NoSweep);
        work && (!world.is_carried(batch) || self.may(world, Event::Premature))
    }

    /// The messages that a sweep finds to name this batch as theirs, and to wait for what becomes of it.
    fn found(&self, world: &World, batch: BatchNo) -> Set {
        let doubtful = if self.is(Mutant::UnconfirmedForgotten) { None } else { Some(State::Unconfirmed) };
        let doubtful = doubtful.filter(|_| world.batch(batch).word.is_none() || !self.is(Mutant::WordForgotten));
        let states = [Some(State::Sending), doubtful].into_iter().flatten();
        let found = states.fold(Set::EMPTY, |found, state| found.and(world.held(batch, state)));
        found.and(self.disputed(world, batch))
    }

    /// The members that the provider refused, and that a report about another member made look as if they were sent.
    fn disputed(&self, world: &World, batch: BatchNo) -> Set {
        let forgotten = self.is(Mutant::RefusalForgotten) || self.is(Mutant::ReportBeatsRefusal);
        world.held(batch, State::Confirmed).filter(|message| world.batch(batch).refused.has(message) && !forgotten)
    }

    /// A batch in doubt is sent again under its key, while the key is certain to live.
    fn may_repeat(&self, world: &World, batch: BatchNo) -> bool {
        let remembered = self.is_remembered(world, batch) || self.is(Mutant::SweepOutlivesKey);
        self.is_keyed() && remembered && world.batch(batch).attempts < ATTEMPTS_MAX
    }

    /// A sweep reads the messages that name a batch, and the batch.
    pub(super) fn look(&self, world: &mut World, sweep: u8, batch: BatchNo) {
        if world.is_carried(batch) {
            world.happened.count(Event::Premature);
        }
        let held = self.found(world, batch);
        let strangers = held.without(world.batch(batch).members);
        let visit = Visit { batch, held, news: false, step: Step::Bury };
        let step = match world.batch(batch).standing() {
            None if self.is(Mutant::TombLeftToTheOther) && is_at_burial(world, batch) => {
                Some(Step::Tell { standing: Standing::Buried, todo: held })
            }
            None => Some(Step::Bury),
            Some(standing) if !strangers.is_empty() && !self.is(Mutant::NoMembership) => {
                Some(Step::Free { standing, todo: strangers })
            }
            Some(standing) => self.go_on(world, &visit, standing),
        };
        world.sweeps[usize::from(sweep)] = step.map(|step| Visit { step, ..visit });
    }

    /// What to do about a batch that stands so.
    fn go_on(&self, world: &World, visit: &Visit, standing: Standing) -> Option<Step> {
        match standing {
            Standing::Started if self.is(Mutant::LateIsUnsent) => self.tells(world, visit, Standing::Rejected),
            Standing::Started => Some(Step::Doubt),
            Standing::Unknown { attempts } if self.may_repeat(world, visit.batch) => Some(Step::Register { attempts }),
            _ => self.tells(world, visit, standing),
        }
    }

    fn tells(&self, world: &World, visit: &Visit, standing: Standing) -> Option<Step> {
        let members = world.batch(visit.batch).members;
        let known = visit.held.filter(|message| members.has(message) || self.is(Mutant::NoMembership));
        let todo = if visit.news { members.and(known) } else { known };
        Some(Step::Tell { standing, todo }).filter(|_| !todo.is_empty() && standing != Standing::Started)
    }

    /// The write of a sweep's step, as the record sees it.
    pub(super) fn sweep_writes(&self, world: &mut World, owner: Owner, visit: &Visit) -> Reply {
        let &Visit { batch, step, .. } = visit;
        match (step, visit.todo().first()) {
            (Step::Bury, _) if self.is(Mutant::NoTombstone) => Reply::Done,
            (Step::Bury, _) => self.bury(world, batch),
            (Step::Free { .. }, Some(first)) => {
                self.release(world, first, batch);
                Reply::Done
            }
            (Step::Doubt, _) => self.settle(world, batch, Outcome::Unknown),
            (Step::Register { .. }, _) if !self.may_repeat(world, batch) => Reply::Lost,
            (Step::Register { attempts }, _) => self.again(world, batch, attempts, true, owner),
            (Step::Record { outcome }, _) => self.settle(world, batch, outcome),
            (Step::Tell { standing, .. }, Some(first)) => {
                // What a batch was rejected for is not known here: its members go out again.
                self.tell(world, first, batch, standing, Fate::Keep);
                Reply::Done
            }
            // A request is no write.
            (Step::Offer, _) | (_, None) => Reply::Lost,
        }
    }

    /// What a sweep does next, by the record's answer.
    pub(super) fn sweep_hears(&self, world: &mut World, sweep: u8, reply: Reply) {
        let Some(mut visit) = world.sweeps[usize::from(sweep)] else { return };
        let rest = visit.todo().rest();
        let next = match (visit.step, reply) {
            (Step::Bury, Reply::Done) => Some(Step::Tell { standing: Standing::Buried, todo: visit.held }),
            (Step::Free { standing, .. }, _) => match rest {
                Some(todo) => Some(Step::Free { standing, todo }),
                None => self.go_on(world, &visit, standing),
            },
            (Step::Doubt, Reply::Stands(Some(standing))) => {
                visit.news = true;
                self.go_on(world, &visit, standing)
            }
            (Step::Register { .. }, Reply::Done) => Some(Step::Offer),
            // Somebody else repeats it, or it is too late for that.
            (Step::Register { attempts }, _) => self.tells(world, &visit, Standing::Unknown { attempts }),
            (Step::Record { .. }, Reply::Stands(Some(standing))) => {
                visit.news |= !matches!(standing, Standing::Unknown { .. });
                self.tells(world, &visit, standing)
            }
            (Step::Tell { standing, .. }, _) => rest.map(|todo| Step::Tell { standing, todo }),
            _ => None,
        };
        match next {
            Some(step) => world.sweeps[usize::from(sweep)] = Some(Visit { step, ..visit }),
            None => self.sweep_stops(world, sweep),
        }
    }

    /// §6, for a repeat: only "taken" settles the doubt, any other answer is one to the repeat alone.
    pub(super) fn sweep_hears_provider(&self, world: &mut World, sweep: u8, answer: Answer) {
        let Some(visit) = world.sweeps[usize::from(sweep)] else { return };
        let attempts = world.batch(visit.batch).attempts;
        let outcome = match answer {
            Answer::Taken { refused } => Outcome::Confirmed { refused },
            Answer::Error if self.is(Mutant::RepeatProves) => Outcome::Disproved { attempts, requeue: true },
            _ => Outcome::Unknown,
        };
        world.sweeps[usize::from(sweep)] = Some(Visit { step: Step::Record { outcome }, ..visit });
    }

    /// The sweep has ended, or was stopped. No later one has its name.
    pub(super) fn sweep_stops(&self, world: &mut World, sweep: u8) {
        world.sweeps[usize::from(sweep)] = None;
        for batch in &mut world.batches {
            if batch.owner == Owner::Sweep(sweep) {
                batch.owner = Owner::Gone;
            }
        }
    }

    /// A message waits that is not valid any more.
    pub(super) fn is_due(&self, world: &World, message: MessageNo) -> bool {
        let seen = world.message(message);
        let claimed_too = self.is(Mutant::ExpireClaimed) && seen.is(State::Sending);
        seen.lapsed && (seen.is(State::Accepted) || claimed_too) && !self.is(Mutant::NoSweep)
    }

    /// A message waits, and nothing will wake a courier for it.
    pub(super) fn is_unheard(&self, world: &World, message: MessageNo) -> bool {
        let held = world.couriers.iter().flatten().any(|errand| errand.bells.has(message));
        let waits = world.message(message).waits() && !world.message(message).unrung;
        waits && world.bells[usize::from(message)] == 0 && !held && !self.is(Mutant::NoSweep)
    }
}

impl Visit {
    fn todo(&self) -> Set {
        match self.step {
            Step::Free { todo, .. } | Step::Tell { todo, .. } => todo,
            _ => Set::EMPTY,
        }
    }
}

fn is_at_burial(world: &World, batch: BatchNo) -> bool {
    world.sweeps.iter().flatten().any(|visit| visit.batch == batch && visit.step == Step::Bury)
}
