//! What can happen next: every choice that chance has.

use super::actions::{Action, Made, Move};
use super::provider::Answer;
use super::sets::Set;
use super::settings::Event;
use super::world::{BATCHES, BatchNo, MessageNo, World};
use super::{Protocol, courier, status, sweep};

/// All that can become of a write whose answer is lost.
const LOST: [Move; 3] = [Move::Repeats, Move::GivesUp(Made::Now), Move::GivesUp(Made::Never)];
/// All that can become of it where making it twice is as good as making it once.
const LOST_SIMPLE: [Move; 1] = [Move::GivesUp(Made::Never)];
const STRAGGLES: [Move; 2] = [Move::Echoes, Move::GivesUp(Made::Later)];

impl Protocol {
    pub(super) fn choices(&self, world: &World, next: &mut Vec<Action>) {
        for message in 0..self.settings.messages {
            self.choices_of_message(world, message, next);
        }
        for batch in 0..BATCHES as BatchNo {
            self.choices_of_batch(world, batch, next);
        }
        // The couriers are alike, and so are the sweeps: the first one that sleeps is the one to wake.
        if let Some(courier) = world.couriers.iter().position(Option::is_none) {
            self.choices_of_sqs(world, courier as u8, next);
        }
        let at_work = world.sweeps.iter().flatten().count();
        if let Some(sweep) = world.sweeps.iter().position(Option::is_none).filter(|_| at_work < self.settings.sweeps) {
            let left = (0..BATCHES as BatchNo).filter(|batch| self.is_left_behind(world, *batch));
            next.extend(left.map(|batch| Action::Looks { sweep: sweep as u8, batch }));
        }
        self.choices_of_couriers(world, next);
        self.choices_of_sweeps(world, next);
        self.choices_of_status(world, next);
        if world.word.is_some() {
            next.push(Action::Operator);
            if self.may(world, Event::Crash) {
                next.push(Action::OperatorStops);
            }
        }
        if world.straggler.is_some() {
            next.push(Action::Straggles);
        }
    }

    fn choices_of_message(&self, world: &World, message: MessageNo, next: &mut Vec<Action>) {
        let (seen, n) = (world.message(message), usize::from(message));
        if seen.state.is_none() {
            next.push(Action::Accepts(message));
        }
        if seen.unrung {
            next.extend([Action::Rings(message), Action::LosesBell(message)]);
        }
        if self.is_unheard(world, message) {
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
            next.extend(self.settings.reports.iter().map(|&told| Action::Reports { message, told }));
        }
    }

    fn choices_of_batch(&self, world: &World, batch: BatchNo, next: &mut Vec<Action>) {
        if !world.provider.requests[usize::from(batch)].under_way.is_empty() {
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

    fn choices_of_sqs(&self, world: &World, courier: u8, next: &mut Vec<Action>) {
        let rung = Set::all().filter(|message| world.bells[usize::from(message)] > 0);
        for bells in rung.parts() {
            next.push(Action::Wakes { courier, bells, duplicate: false });
            if self.may(world, Event::Duplicate) {
                next.push(Action::Wakes { courier, bells, duplicate: true });
            }
        }
    }

    fn choices_of_couriers(&self, world: &World, next: &mut Vec<Action>) {
        use courier::Step;
        for (courier, errand) in (0..).zip(&world.couriers) {
            let Some(errand) = errand else { continue };
            let mut add = |moves: &[Move]| next.extend(moves.iter().map(|&one| Action::Courier(courier, one)));
            match errand.step {
                Step::Offer { .. } => add(&self.answers(world, errand.batch, errand.members)),
                step => {
                    add(&[Move::Writes]);
                    if self.may(world, Event::Lost) {
                        let simple = matches!(step, Step::Free { .. } | Step::Tell { .. } | Step::GiveBack { .. });
                        add(if simple { &LOST_SIMPLE } else { &LOST });
                    }
                    if self.may(world, Event::Straggler) {
                        add(&STRAGGLES);
                    }
                }
            }
            if self.may(world, Event::Crash) {
                add(&[Move::Stops]);
            }
        }
    }

    fn choices_of_sweeps(&self, world: &World, next: &mut Vec<Action>) {
        use sweep::Step;
        for (sweep, visit) in (0..).zip(&world.sweeps) {
            let Some(visit) = visit else { continue };
            let mut add = |moves: &[Move]| next.extend(moves.iter().map(|&one| Action::Sweep(sweep, one)));
            match visit.step {
                Step::Offer => add(&self.answers(world, visit.batch, world.batch(visit.batch).members)),
                step => {
                    add(&[Move::Writes]);
                    // To give a write up is to be stopped.
                    if self.may(world, Event::Lost) && !matches!(step, Step::Free { .. } | Step::Tell { .. }) {
                        add(&[Move::Repeats]);
                    }
                    if self.may(world, Event::Straggler) {
                        add(&STRAGGLES);
                    }
                }
            }
            if self.may(world, Event::Crash) {
                add(&[Move::Stops]);
            }
        }
    }

    fn choices_of_status(&self, world: &World, next: &mut Vec<Action>) {
        let Some(update) = world.update else { return };
        next.push(Action::Status(Move::Writes));
        if matches!(update.step, status::Step::Tell { .. }) && self.may(world, Event::Lost) {
            next.push(Action::Status(Move::GivesUp(Made::Never)));
        }
        if self.may(world, Event::Crash) {
            next.push(Action::Status(Move::Stops));
        }
    }

    /// What the provider, or the way to it, may answer to a request.
    fn answers(&self, world: &World, batch: BatchNo, members: Set) -> Vec<Move> {
        let known = self.is_keyed() && world.provider.requests[usize::from(batch)].remembered;
        let poisoned = !known && members.meets(self.settings.poison);
        let refused = members.filter(|message| self.settings.unwanted.has(message));
        let mut answers = vec![if poisoned { Answer::Refused } else { Answer::Taken { refused } }];
        if self.may(world, Event::Error) {
            answers.extend([Answer::Error, Answer::Busy]);
        }
        if self.may(world, Event::Refusal) && !poisoned {
            answers.push(Answer::Refused);
        }
        if self.may(world, Event::Unanswered) {
            answers.push(Answer::None);
        }
        answers.into_iter().map(Move::Asks).collect()
    }
}
