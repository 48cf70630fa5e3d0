//! Lists the actions that a state allows.

use super::actions::{Action, Made, ProcessAction};
use super::provider::Answer;
use super::sets::Set;
use super::settings::Event;
use super::world::{BATCHES, BatchNo, MessageNo, World};
use super::{Protocol, dispatcher, status, sweep};

/// What can become of a write whose answer is lost.
const LOST: [ProcessAction; 3] = [
    ProcessAction::Repeats,
    ProcessAction::GivesUp(Made::Now),
    ProcessAction::GivesUp(Made::Never),
];
/// What can become of a write that changes nothing when it is made twice.
const LOST_SIMPLE: [ProcessAction; 1] = [ProcessAction::GivesUp(Made::Never)];
/// What can become of a write that the record receives late.
const STRAGGLES: [ProcessAction; 2] = [ProcessAction::Echoes, ProcessAction::GivesUp(Made::Later)];

impl Protocol {
    /// Adds all actions that are possible next.
    pub(super) fn choices(&self, world: &World, next: &mut Vec<Action>) {
        for message in 0..self.settings.messages {
            self.choices_of_message(world, message, next);
        }
        for batch in 0..BATCHES as BatchNo {
            self.choices_of_batch(world, batch, next);
        }
        // All dispatchers are alike, and so are all sweeps, so waking the first idle one covers
        // every case.
        if let Some(dispatcher) = world.dispatchers.iter().position(Option::is_none) {
            self.choices_of_sqs(world, dispatcher as u8, next);
        }
        self.choices_of_idle_sweeps(world, next);
        self.choices_of_dispatchers(world, next);
        self.choices_of_sweeps(world, next);
        self.choices_of_status(world, next);
        if world.decision.is_some() {
            next.push(Action::Operator);
            if self.may(world, Event::Crash) {
                next.push(Action::OperatorStops);
            }
        }
        if world.straggler.is_some() {
            next.push(Action::Straggles);
        }
    }

    fn choices_of_idle_sweeps(&self, world: &World, next: &mut Vec<Action>) {
        let at_work = world.sweeps.iter().flatten().count();
        if at_work >= self.settings.sweeps {
            return;
        }
        if let Some(sweep) = world.sweeps.iter().position(Option::is_none) {
            let batches =
                (0..BATCHES as BatchNo).filter(|batch| self.needs_recovery(world, *batch));
            next.extend(batches.map(|batch| Action::StartsVisit {
                sweep: sweep as u8,
                batch,
            }));
        }
    }

    fn choices_of_message(&self, world: &World, message: MessageNo, next: &mut Vec<Action>) {
        let (seen, n) = (world.message(message), usize::from(message));
        if seen.state.is_none() {
            next.push(Action::Accepts(message));
        }
        if seen.bell_unsent {
            next.extend([Action::Rings(message), Action::LosesBell(message)]);
        }
        if self.needs_bell(world, message) {
            next.push(Action::RingsAgain(message));
        }
        if self.is_due(world, message) {
            next.push(Action::Expires(message));
        }
        if seen.state.is_some() && !seen.lapsed && self.may(world, Event::Lapse) {
            next.push(Action::Lapses(message));
        }
        let reports_left = world.provider.reports[n] < self.settings.reports_max;
        if world.provider.sent[n] > 0 && reports_left && world.update.is_none() {
            next.extend(
                self.settings
                    .reports
                    .iter()
                    .map(|&report| Action::Reports { message, report }),
            );
        }
    }

    fn choices_of_batch(&self, world: &World, batch: BatchNo, next: &mut Vec<Action>) {
        if !world.provider.requests[usize::from(batch)]
            .under_way
            .is_empty()
        {
            next.extend([Action::ArrivesLate(batch), Action::Vanishes(batch)]);
        }
        if self.may_resolve(world, batch) {
            next.extend([true, false].map(|requeue| Action::Resolves { batch, requeue }));
        }
        if self.may_grow_old(world, batch) {
            next.push(Action::GrowsOld(batch));
        }
        if self.may_forget(world, batch) {
            next.push(Action::Forgets(batch));
        }
    }

    fn choices_of_sqs(&self, world: &World, dispatcher: u8, next: &mut Vec<Action>) {
        let rung = Set::all().filter(|message| world.bells[usize::from(message)] > 0);
        for bells in rung.subsets() {
            next.push(Action::Wakes {
                dispatcher,
                bells,
                duplicate: false,
            });
            if self.may(world, Event::Duplicate) {
                next.push(Action::Wakes {
                    dispatcher,
                    bells,
                    duplicate: true,
                });
            }
        }
    }

    fn choices_of_dispatchers(&self, world: &World, next: &mut Vec<Action>) {
        use dispatcher::Step;
        for (dispatcher, task) in (0..).zip(&world.dispatchers) {
            let Some(task) = task else { continue };
            let mut add = |actions: &[ProcessAction]| {
                next.extend(
                    actions
                        .iter()
                        .map(|&action| Action::Dispatcher(dispatcher, action)),
                )
            };
            match task.step {
                Step::Send { .. } => add(&self.answers(world, task.batch, task.members)),
                step => {
                    add(&[ProcessAction::Writes]);
                    if self.may(world, Event::Lost) {
                        let simple = matches!(
                            step,
                            Step::ReleaseStrangers { .. }
                                | Step::ApplyOutcome { .. }
                                | Step::ReleaseHeld { .. }
                        );
                        add(if simple { &LOST_SIMPLE } else { &LOST });
                    }
                    if self.may(world, Event::Straggler) {
                        add(&STRAGGLES);
                    }
                }
            }
            if self.may(world, Event::Crash) {
                add(&[ProcessAction::Stops]);
            }
        }
    }

    fn choices_of_sweeps(&self, world: &World, next: &mut Vec<Action>) {
        use sweep::Step;
        for (sweep, visit) in (0..).zip(&world.sweeps) {
            let Some(visit) = visit else { continue };
            let mut add = |actions: &[ProcessAction]| {
                next.extend(actions.iter().map(|&action| Action::Sweep(sweep, action)))
            };
            match visit.step {
                Step::Send => {
                    add(&self.answers(world, visit.batch, world.batch(visit.batch).members))
                }
                step => {
                    add(&[ProcessAction::Writes]);
                    // A sweep that gives a write up has stopped, which is a choice of its own.
                    if self.may(world, Event::Lost)
                        && !matches!(
                            step,
                            Step::ReleaseStrangers { .. } | Step::ApplyOutcome { .. }
                        )
                    {
                        add(&[ProcessAction::Repeats]);
                    }
                    if self.may(world, Event::Straggler) {
                        add(&STRAGGLES);
                    }
                }
            }
            if self.may(world, Event::Crash) {
                add(&[ProcessAction::Stops]);
            }
        }
    }

    fn choices_of_status(&self, world: &World, next: &mut Vec<Action>) {
        let Some(update) = world.update else { return };
        next.push(Action::Status(ProcessAction::Writes));
        if matches!(update.step, status::Step::ApplyOutcome { .. }) && self.may(world, Event::Lost)
        {
            next.push(Action::Status(ProcessAction::GivesUp(Made::Never)));
        }
        if self.may(world, Event::Crash) {
            next.push(Action::Status(ProcessAction::Stops));
        }
    }

    /// What may come back from a request, be it the provider's answer or none.
    fn answers(&self, world: &World, batch: BatchNo, members: Set) -> Vec<ProcessAction> {
        let repeated = self.is_keyed() && world.provider.requests[usize::from(batch)].remembered;
        let poisoned = !repeated && members.intersects(self.settings.poison);
        let refused = members.filter(|message| self.settings.unwanted.has(message));
        let mut answers = vec![if poisoned {
            Answer::Refused
        } else {
            Answer::Taken { refused }
        }];
        if self.may(world, Event::Error) {
            answers.extend([Answer::Error, Answer::Busy]);
        }
        if self.may(world, Event::Refusal) && !poisoned {
            answers.push(Answer::Refused);
        }
        if self.may(world, Event::Unanswered) {
            answers.push(Answer::None);
        }
        answers.into_iter().map(ProcessAction::Asks).collect()
    }
}
