//! Status: takes the provider's reports into the record.

use shared::state::{Reason, Report, State, Verdict};

use super::Protocol;
use super::sets::Set;
use super::settings::{Mutant, Told};
use super::world::{BatchNo, MessageNo, World};
use super::writes::{Fate, Outcome, Reply, Standing};

/// A report that is being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Update {
    message: MessageNo,
    told: Told,
    /// What the message was when it was read.
    seen: State,
    pub(super) step: Step,
}

/// Its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// W5 CONFIRMED: a report about any of its messages proves that the batch arrived.
    Prove { batch: BatchNo },
    /// W6 of the first of `todo`.
    Tell { batch: BatchNo, standing: Standing, todo: Set },
    /// W9.
    Move,
}

impl Told {
    fn report(self) -> Report {
        match self {
            Told::Confirmed => Report::Confirmed,
            Told::Delivered => Report::Delivered,
            Told::Failed => Report::Failed(Reason::Undelivered),
        }
    }
}

impl Protocol {
    /// The provider calls. The message is read, and [`State::take`] says what the report does to it.
    pub(super) fn take_report(&self, world: &mut World, message: MessageNo, told: Told) {
        let Some(seen) = world.message(message).state else { return };
        let narrow = self.is(Mutant::ReportOnlyOnConfirmed) && seen != State::Confirmed;
        let moves = matches!(seen.take(told.report()), Verdict::Moves(_) | Verdict::Contradicts(_));
        if narrow || !moves {
            return self.acknowledge(world, message);
        }
        let proves = seen.is_unsettled() && !self.is(Mutant::ReportSkipsBatch);
        let step = match world.message(message).batch {
            Some(batch) if proves => Step::Prove { batch },
            _ => Step::Move,
        };
        world.update = Some(Update { message, told, seen, step });
    }

    /// The next write of a report; one that tells a member may fail, which is only logged.
    pub(super) fn status_writes(&self, world: &mut World, told: bool) {
        let Some(update) = world.update else { return };
        let step = match update.step {
            Step::Prove { batch } => {
                let reply = self.settle(world, batch, Outcome::Confirmed { refused: Set::EMPTY });
                // A courier that waits for the provider's answer will know which members were refused: it tells.
                let tells = update.seen == State::Unconfirmed || !world.is_attended(batch);
                match reply {
                    Reply::Stands(Some(standing @ Standing::Confirmed { .. })) if tells => {
                        Step::Tell { batch, standing, todo: world.batch(batch).members }
                    }
                    // If it is not CONFIRMED, the record says that nothing was sent: an alarm, and it is taken.
                    _ => Step::Move,
                }
            }
            Step::Tell { batch, standing, todo } => {
                if let Some(first) = todo.first().filter(|_| told) {
                    self.tell(world, first, batch, standing, Fate::Keep);
                }
                todo.rest().map_or(Step::Move, |todo| Step::Tell { batch, standing, todo })
            }
            Step::Move => {
                world.update = None;
                let to = update.told.report().state();
                return match self.report(world, update.message, update.seen, to) {
                    Reply::Done => self.acknowledge(world, update.message),
                    // Somebody else moved it: decide again on what it is now.
                    _ => self.take_report(world, update.message, update.told),
                };
            }
        };
        world.update = Some(Update { step, ..update });
    }

    /// The call fails, and the provider will make it again.
    pub(super) fn status_stops(&self, world: &mut World) {
        if let Some(update) = world.update.take() {
            world.provider.reports[usize::from(update.message)] -= 1;
        }
    }

    fn acknowledge(&self, world: &mut World, message: MessageNo) {
        world.witness.reported = world.witness.reported.with(message);
    }
}
