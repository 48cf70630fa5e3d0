//! What can happen, and what it does.

use super::Protocol;
use super::provider::Answer;
use super::sets::Set;
use super::settings::{Event, Told};
use super::world::{BatchNo, MessageNo, Owner, Straggler, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send records a message (W1).
    Accepts(MessageNo),
    /// Send rings its bell.
    Rings(MessageNo),
    /// Send is stopped before that, or the queue is down; the caller has its 202 all the same.
    LosesBell(MessageNo),
    /// SQS wakes a courier.
    Wakes {
        courier: u8,
        bells: Set,
        duplicate: bool,
    },
    Courier(u8, Move),
    /// A sweep reads what a batch left behind.
    Looks {
        sweep: u8,
        batch: BatchNo,
    },
    Sweep(u8, Move),
    /// Sweep rings for a message that waits without a bell.
    RingsAgain(MessageNo),
    /// Sweep expires a message (W11).
    Expires(MessageNo),
    /// The provider reports to status.
    Reports {
        message: MessageNo,
        told: Told,
    },
    Status(Move),
    /// An operator knows what became of a batch.
    Resolves {
        batch: BatchNo,
        requeue: bool,
    },
    /// That is written down, or told to a message.
    Operator,
    /// The function that does so is stopped.
    OperatorStops,
    /// A write that nobody waits for reaches the record.
    Straggles,
    /// A request that was given up reaches the provider.
    ArrivesLate(BatchNo),
    /// It never does.
    Vanishes(BatchNo),
    /// The key of a batch is too old to repeat a request under it.
    GrowsOld(BatchNo),
    /// The provider forgets the key.
    Forgets(BatchNo),
    /// A message's validity passes.
    Lapses(MessageNo),
}

/// What a function at work does, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It makes its next write, and hears of it.
    Writes,
    /// The same; and the record will get the write once more.
    Echoes,
    /// It makes the write, does not hear of it, and will make it again.
    Repeats,
    /// It does not hear of the write, and gives it up.
    GivesUp(Made),
    /// It makes its request, and this comes back.
    Asks(Answer),
    /// It is stopped.
    Stops,
}

/// Whether a write that was given up was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    Later,
    Never,
}

impl Protocol {
    /// Does what happens.
    pub(super) fn happen(&self, world: &mut World, action: Action) {
        match action {
            Action::Accepts(message) => self.accept(world, message),
            Action::Rings(message) => {
                world.message_mut(message).unrung = false;
                world.ring(message);
            }
            Action::LosesBell(message) => world.message_mut(message).unrung = false,
            Action::Wakes { courier, bells, duplicate } => self.wake(world, courier, bells, duplicate),
            Action::Courier(courier, one) => self.courier_moves(world, courier, one),
            Action::Looks { sweep, batch } => self.look(world, sweep, batch),
            Action::Sweep(sweep, one) => self.sweep_moves(world, sweep, one),
            Action::RingsAgain(message) => world.ring(message),
            Action::Expires(message) => self.expire(world, message),
            Action::Reports { message, told } => {
                world.provider.reports[usize::from(message)] += 1;
                self.take_report(world, message, told);
            }
            Action::Status(one) => self.status_moves(world, one),
            Action::Resolves { batch, requeue } => self.resolve(world, batch, requeue),
            Action::Operator => self.operator_writes(world),
            Action::OperatorStops => self.operator_stops(world),
            Action::Straggles => match world.straggler.take() {
                Some(Straggler::Courier(errand)) => drop(self.courier_writes(world, &errand)),
                Some(Straggler::Sweep(visit)) => drop(self.sweep_writes(world, Owner::Gone, &visit)),
                None => {}
            },
            Action::ArrivesLate(batch) => self.arrives_late(world, batch),
            Action::Vanishes(batch) => self.vanishes(world, batch),
            Action::GrowsOld(batch) => world.provider.requests[usize::from(batch)].too_old = true,
            Action::Forgets(batch) => world.provider.requests[usize::from(batch)].remembered = false,
            Action::Lapses(message) => {
                world.happened.count(Event::Lapse);
                world.message_mut(message).lapsed = true;
            }
        }
        world.sort();
    }

    fn courier_moves(&self, world: &mut World, courier: u8, one: Move) {
        let Some(errand) = world.couriers[usize::from(courier)] else { return };
        self.count(world, errand.members, one);
        match one {
            Move::Writes | Move::Echoes => {
                let reply = self.courier_writes(world, &errand);
                self.courier_hears(world, courier, Some(reply));
            }
            Move::Repeats => drop(self.courier_writes(world, &errand)),
            Move::GivesUp(made) => {
                if made == Made::Now {
                    self.courier_writes(world, &errand);
                }
                self.courier_hears(world, courier, None);
            }
            Move::Asks(answer) => {
                self.request(world, errand.batch, errand.members, answer);
                self.courier_hears_provider(world, courier, answer);
            }
            Move::Stops => self.courier_stops(world, courier),
        }
        if matches!(one, Move::Echoes | Move::GivesUp(Made::Later)) {
            world.straggler = Some(Straggler::Courier(errand));
        }
    }

    fn sweep_moves(&self, world: &mut World, sweep: u8, one: Move) {
        let Some(visit) = world.sweeps[usize::from(sweep)] else { return };
        let members = world.batch(visit.batch).members;
        self.count(world, members, one);
        match one {
            Move::Writes | Move::Echoes => {
                let reply = self.sweep_writes(world, Owner::Sweep(sweep), &visit);
                self.sweep_hears(world, sweep, reply);
            }
            Move::Repeats => drop(self.sweep_writes(world, Owner::Sweep(sweep), &visit)),
            Move::Asks(answer) => {
                self.request(world, visit.batch, members, answer);
                self.sweep_hears_provider(world, sweep, answer);
            }
            Move::GivesUp(_) | Move::Stops => self.sweep_stops(world, sweep),
        }
        if matches!(one, Move::Echoes | Move::GivesUp(Made::Later)) {
            world.straggler = Some(Straggler::Sweep(visit));
        }
    }

    fn status_moves(&self, world: &mut World, one: Move) {
        self.count(world, Set::EMPTY, one);
        match one {
            Move::Stops => self.status_stops(world),
            Move::GivesUp(_) => self.status_writes(world, false),
            _ => self.status_writes(world, true),
        }
    }

    /// Counts the event that a move is.
    fn count(&self, world: &mut World, members: Set, one: Move) {
        let event = match one {
            Move::Writes | Move::Asks(Answer::Taken { .. }) => return,
            Move::Asks(Answer::Refused) if members.meets(self.settings.poison) => return,
            Move::Asks(Answer::Refused) => Event::Refusal,
            Move::Asks(Answer::Error | Answer::Busy) => Event::Error,
            Move::Asks(Answer::None) => Event::Unanswered,
            Move::Echoes | Move::GivesUp(Made::Later) => Event::Straggler,
            Move::Repeats | Move::GivesUp(Made::Now | Made::Never) => Event::Lost,
            Move::Stops => Event::Crash,
        };
        world.happened.count(event);
    }
}
