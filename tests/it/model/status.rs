//! The status function: it brings the provider's reports into the record.

use domain::batch::Cause;
use domain::delivery_report::may_apply_outcome;
use domain::state::{DeliveryReport, Reason, ReportEffect, State};

use super::Protocol;
use super::sets::Set;
use super::settings::{Mutant, Reported};
use super::world::{BatchNo, MessageNo, World};
use super::writes::{Outcome, Reply, Snapshot};

/// A report that the status function works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Update {
    message: MessageNo,
    report: Reported,
    /// The state that the message had when it was read.
    seen: State,
    pub(super) step: Step,
}

/// Its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// W5 CONFIRMED: a report about any of its messages shows that the batch arrived.
    Settle { batch: BatchNo },
    /// W6 of the first message of `todo`.
    ApplyOutcome {
        batch: BatchNo,
        snapshot: Snapshot,
        todo: Set,
    },
    /// W9.
    Report,
}

impl Reported {
    fn delivery_report(self) -> DeliveryReport {
        match self {
            Reported::Confirmed => DeliveryReport::Confirmed,
            Reported::Delivered => DeliveryReport::Delivered,
            Reported::Failed => DeliveryReport::Failed(Reason::Undelivered),
        }
    }
}

impl Protocol {
    /// The provider reports, and the function reads the message.
    pub(super) fn receive_report(&self, world: &mut World, message: MessageNo, report: Reported) {
        let Some(seen) = self.changed_by(world, message, report) else {
            return self.acknowledge(world, message);
        };
        let arrived = seen.is_unsettled() && !self.is(Mutant::ReportSkipsBatch);
        let step = match world.message(message).batch {
            Some(batch) if arrived => Step::Settle { batch },
            _ => Step::Report,
        };
        world.update = Some(Update {
            message,
            report,
            seen,
            step,
        });
    }

    /// The state of the message, if [`State::after_report`] says that the report changes it.
    fn changed_by(&self, world: &World, message: MessageNo, report: Reported) -> Option<State> {
        let seen = world.message(message).state?;
        let narrow = self.is(Mutant::ReportOnlyOnConfirmed) && seen != State::Confirmed;
        let effect = seen.after_report(report.delivery_report());
        let changes = matches!(
            effect,
            ReportEffect::Moves(_) | ReportEffect::Contradicts(_)
        );
        (changes && !narrow).then_some(seen)
    }

    /// The function's next write. One that changes another member may fail, which is only logged.
    pub(super) fn status_writes(&self, world: &mut World, written: bool) {
        let Some(update) = world.update else { return };
        match update.step {
            Step::Settle { batch } => self.settle_arrived(world, update, batch),
            Step::ApplyOutcome {
                batch,
                snapshot,
                todo,
            } => {
                if let Some(first) = todo.first().filter(|_| written) {
                    self.apply_outcome(world, (first, batch), snapshot, Cause::Unavailable);
                }
                match todo.rest() {
                    Some(todo) => {
                        let step = Step::ApplyOutcome {
                            batch,
                            snapshot,
                            todo,
                        };
                        world.update = Some(Update { step, ..update });
                    }
                    None => self.read_again(world, update),
                }
            }
            Step::Report => {
                world.update = None;
                let to = update.report.delivery_report().state();
                match self.report(world, update.message, update.seen, to) {
                    Reply::Done => self.acknowledge(world, update.message),
                    // Another process changed the message first, so the report is considered again.
                    _ => self.receive_report(world, update.message, update.report),
                }
            }
        }
    }

    /// W5 of the batch. [`may_apply_outcome`] decides whether to apply the outcome, or to leave
    /// that to its dispatcher.
    fn settle_arrived(&self, world: &mut World, update: Update, batch: BatchNo) {
        let reply = self.settle(
            world,
            batch,
            Outcome::Confirmed {
                refused: Set::EMPTY,
            },
        );
        let applies = may_apply_outcome(update.seen, world.is_attended(batch));
        let step = match reply {
            Reply::Found(Some(snapshot @ Snapshot::Confirmed { .. })) if applies => {
                Step::ApplyOutcome {
                    batch,
                    snapshot,
                    todo: world.batch(batch).members,
                }
            }
            // If the batch is not CONFIRMED, the record says that it was not sent. The product
            // raises an alarm, and still applies the report.
            _ => Step::Report,
        };
        world.update = Some(Update { step, ..update });
    }

    /// The outcome of its batch may have changed the message, so it is read again before the report
    /// is applied.
    fn read_again(&self, world: &mut World, update: Update) {
        world.update = None;
        match self.changed_by(world, update.message, update.report) {
            Some(seen) => {
                world.update = Some(Update {
                    seen,
                    step: Step::Report,
                    ..update
                })
            }
            None => self.acknowledge(world, update.message),
        }
    }

    /// The function is stopped, and the provider will report again.
    pub(super) fn status_stops(&self, world: &mut World) {
        if let Some(update) = world.update.take() {
            world.provider.reports[usize::from(update.message)] -= 1;
        }
    }

    fn acknowledge(&self, world: &mut World, message: MessageNo) {
        world.witness.reported = world.witness.reported.with(message);
    }
}
