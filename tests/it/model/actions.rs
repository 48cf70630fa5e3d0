//! What can happen, and what it changes. A process here is one running invocation of a function.

use super::Protocol;
use super::provider::Answer;
use super::sets::Set;
use super::settings::{Event, Reported};
use super::world::{BatchNo, MessageNo, Owner, Straggler, World};

/// One step of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The send function records a message (W1).
    Accepts(MessageNo),
    /// The send function rings the bell of a message.
    Rings(MessageNo),
    /// The send function is stopped before it rings, or the queue is down. The caller has its 202
    /// all the same.
    LosesBell(MessageNo),
    /// SQS wakes a dispatcher.
    Wakes {
        dispatcher: u8,
        bells: Set,
        duplicate: bool,
    },
    Dispatcher(u8, ProcessAction),
    /// A sweep begins with a batch that needs recovery.
    StartsVisit {
        sweep: u8,
        batch: BatchNo,
    },
    Sweep(u8, ProcessAction),
    /// The sweep rings for a message that waits without a bell.
    RingsAgain(MessageNo),
    /// The sweep expires a message (W11).
    Expires(MessageNo),
    /// The provider reports to the status function.
    Reports {
        message: MessageNo,
        report: Reported,
    },
    Status(ProcessAction),
    /// An operator decides what became of a batch.
    Resolves {
        batch: BatchNo,
        requeue: bool,
    },
    /// The operator's decision is written, to the batch or to a member.
    Operator,
    /// The function that writes the decision is stopped.
    OperatorStops,
    /// A write that no process waits for reaches the record.
    Straggles,
    /// A request that was given up reaches the provider.
    ArrivesLate(BatchNo),
    /// Such a request never arrives.
    Vanishes(BatchNo),
    /// The key of a batch becomes too old to repeat a request under it.
    GrowsOld(BatchNo),
    /// The provider forgets the key of a batch.
    Forgets(BatchNo),
    /// The validity of a message ends.
    Lapses(MessageNo),
}

/// What a process does next, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessAction {
    /// It makes its next write and receives the answer.
    Writes,
    /// The same, and the record will receive the write once more.
    Echoes,
    /// It makes the write, receives no answer, and will make it again.
    Repeats,
    /// It receives no answer to the write and gives it up.
    GivesUp(Made),
    /// It makes its request to the provider, with this result.
    Asks(Answer),
    /// It is stopped.
    Stops,
}

/// When the record receives a write that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    Later,
    Never,
}

impl Protocol {
    /// Applies the action to the world.
    pub(super) fn perform(&self, world: &mut World, action: Action) {
        match action {
            Action::Accepts(message) => self.accept(world, message),
            Action::Rings(message) => {
                world.message_mut(message).bell_unsent = false;
                world.ring(message);
            }
            Action::LosesBell(message) => world.message_mut(message).bell_unsent = false,
            Action::Wakes {
                dispatcher,
                bells,
                duplicate,
            } => self.wake(world, dispatcher, bells, duplicate),
            Action::Dispatcher(dispatcher, action) => {
                self.dispatcher_acts(world, dispatcher, action)
            }
            Action::StartsVisit { sweep, batch } => self.start_visit(world, sweep, batch),
            Action::Sweep(sweep, action) => self.sweep_acts(world, sweep, action),
            Action::RingsAgain(message) => world.ring(message),
            Action::Expires(message) => self.expire(world, message),
            Action::Reports { message, report } => {
                world.provider.reports[usize::from(message)] += 1;
                self.receive_report(world, message, report);
            }
            Action::Status(action) => self.status_acts(world, action),
            Action::Resolves { batch, requeue } => self.resolve(world, batch, requeue),
            Action::Operator => self.operator_writes(world),
            Action::OperatorStops => self.operator_stops(world),
            Action::Straggles => self.straggle(world),
            Action::ArrivesLate(batch) => self.arrives_late(world, batch),
            Action::Vanishes(batch) => self.vanishes(world, batch),
            Action::GrowsOld(batch) => world.provider.requests[usize::from(batch)].too_old = true,
            Action::Forgets(batch) => {
                world.provider.requests[usize::from(batch)].remembered = false
            }
            Action::Lapses(message) => {
                world.happened.count(Event::Lapse);
                world.message_mut(message).lapsed = true;
            }
        }
        world.sort();
    }

    fn straggle(&self, world: &mut World) {
        match world.straggler.take() {
            Some(Straggler::Dispatcher(task)) => {
                self.dispatcher_writes(world, &task);
            }
            Some(Straggler::Sweep(visit)) => {
                self.sweep_writes(world, Owner::Gone, &visit);
            }
            None => {}
        }
    }

    fn dispatcher_acts(&self, world: &mut World, dispatcher: u8, action: ProcessAction) {
        let Some(task) = world.dispatchers[usize::from(dispatcher)] else {
            return;
        };
        self.count(world, task.members, action);
        match action {
            ProcessAction::Writes | ProcessAction::Echoes => {
                let reply = self.dispatcher_writes(world, &task);
                self.dispatcher_gets_reply(world, dispatcher, Some(reply));
            }
            ProcessAction::Repeats => {
                self.dispatcher_writes(world, &task);
            }
            ProcessAction::GivesUp(made) => {
                if made == Made::Now {
                    self.dispatcher_writes(world, &task);
                }
                self.dispatcher_gets_reply(world, dispatcher, None);
            }
            ProcessAction::Asks(answer) => {
                self.request(world, task.batch, task.members, answer);
                self.dispatcher_gets_answer(world, dispatcher, answer);
            }
            ProcessAction::Stops => self.dispatcher_stops(world, dispatcher),
        }
        if matches!(
            action,
            ProcessAction::Echoes | ProcessAction::GivesUp(Made::Later)
        ) {
            world.straggler = Some(Straggler::Dispatcher(task));
        }
    }

    fn sweep_acts(&self, world: &mut World, sweep: u8, action: ProcessAction) {
        let Some(visit) = world.sweeps[usize::from(sweep)] else {
            return;
        };
        let members = world.batch(visit.batch).members;
        self.count(world, members, action);
        match action {
            ProcessAction::Writes | ProcessAction::Echoes => {
                let reply = self.sweep_writes(world, Owner::Sweep(sweep), &visit);
                self.sweep_gets_reply(world, sweep, reply);
            }
            ProcessAction::Repeats => {
                self.sweep_writes(world, Owner::Sweep(sweep), &visit);
            }
            ProcessAction::Asks(answer) => {
                self.request(world, visit.batch, members, answer);
                self.sweep_gets_answer(world, sweep, answer);
            }
            ProcessAction::GivesUp(_) | ProcessAction::Stops => self.sweep_stops(world, sweep),
        }
        if matches!(
            action,
            ProcessAction::Echoes | ProcessAction::GivesUp(Made::Later)
        ) {
            world.straggler = Some(Straggler::Sweep(visit));
        }
    }

    fn status_acts(&self, world: &mut World, action: ProcessAction) {
        self.count(world, Set::EMPTY, action);
        match action {
            ProcessAction::Stops => self.status_stops(world),
            ProcessAction::GivesUp(_) => self.status_writes(world, false),
            _ => self.status_writes(world, true),
        }
    }

    /// Counts the action if it is one of the limited events.
    fn count(&self, world: &mut World, members: Set, action: ProcessAction) {
        let event = match action {
            ProcessAction::Writes | ProcessAction::Asks(Answer::Taken { .. }) => return,
            ProcessAction::Asks(Answer::Refused) if members.intersects(self.settings.poison) => {
                return;
            }
            ProcessAction::Asks(Answer::Refused) => Event::Refusal,
            ProcessAction::Asks(Answer::Error | Answer::Busy) => Event::Error,
            ProcessAction::Asks(Answer::None) => Event::Unanswered,
            ProcessAction::Echoes | ProcessAction::GivesUp(Made::Later) => Event::Straggler,
            ProcessAction::Repeats | ProcessAction::GivesUp(Made::Now | Made::Never) => Event::Lost,
            ProcessAction::Stops => Event::Crash,
        };
        world.happened.count(event);
    }
}
