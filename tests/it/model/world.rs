//! One state of the model: the record, the bells, the processes at work and the provider's ledger.

use domain::batch::BatchState;
use domain::state::State;

use super::dispatcher::Task;
use super::operator::Decision;
use super::provider::Ledger;
use super::sets::Set;
use super::settings::Events;
use super::status::Update;
use super::sweep::{self, Visit};

pub(super) const MESSAGES: usize = 2;
/// Enough for every run, which a promise checks.
pub(super) const BATCHES: usize = 8;
const DISPATCHERS: usize = 2;
const SWEEPS: usize = 2;
/// Two bells for one message have every effect that more could have.
const BELLS_MAX: u8 = 2;

pub(super) type MessageNo = u8;
pub(super) type BatchNo = u8;

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) messages: [Message; MESSAGES],
    /// How many bells for each message are in the queue.
    pub(super) bells: [u8; MESSAGES],
    pub(super) batches: [Batch; BATCHES],
    pub(super) dispatchers: [Option<Task>; DISPATCHERS],
    pub(super) sweeps: [Option<Visit>; SWEEPS],
    pub(super) update: Option<Update>,
    pub(super) decision: Option<Decision>,
    /// A write that no process waits for any more and that will still reach the record.
    pub(super) straggler: Option<Straggler>,
    pub(super) provider: Ledger,
    pub(super) happened: Events,
    pub(super) witness: Witness,
}

/// A message in the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Message {
    /// None while the message is not in the record.
    pub(super) state: Option<State>,
    pub(super) batch: Option<BatchNo>,
    /// How many of its batches ended in an error answer.
    pub(super) errors: u8,
    /// The provider refused it together with another message, so it goes out alone.
    pub(super) alone: bool,
    /// The message is recorded, and its bell is not sent yet.
    pub(super) bell_unsent: bool,
    /// Its validity has ended.
    pub(super) lapsed: bool,
}

/// A batch in the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    /// None while the batch is not in the record.
    pub(super) state: Option<BatchState>,
    pub(super) members: Set,
    pub(super) attempts: u8,
    pub(super) ambiguous: bool,
    pub(super) owner: Owner,
    pub(super) refused: Set,
    /// An operator's decision that the batch was not sent: whether its members go out with another
    /// one.
    pub(super) decision: Option<bool>,
}

/// Which process counted the last attempt of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// One that has ended. No later process has its owner token.
    #[default]
    Gone,
    /// The one dispatcher that claimed messages for it.
    Dispatcher,
    Sweep(u8),
}

/// The process whose write reaches the record late, as it was when it made the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Straggler {
    Dispatcher(Task),
    Sweep(Visit),
}

/// What the promises must know of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Witness {
    /// The first final state that each message was given.
    pub(super) first_final: [Option<State>; MESSAGES],
    /// The messages for which a report was answered with 200.
    pub(super) reported: Set,
    /// A request carried a message that its batch did not list in the record.
    pub(super) unlisted: bool,
    /// No batch number was left.
    pub(super) exhausted: bool,
}

impl World {
    pub(super) fn message(&self, message: MessageNo) -> &Message {
        &self.messages[usize::from(message)]
    }

    pub(super) fn message_mut(&mut self, message: MessageNo) -> &mut Message {
        &mut self.messages[usize::from(message)]
    }

    pub(super) fn batch(&self, batch: BatchNo) -> &Batch {
        &self.batches[usize::from(batch)]
    }

    pub(super) fn batch_mut(&mut self, batch: BatchNo) -> &mut Batch {
        &mut self.batches[usize::from(batch)]
    }

    /// A batch number that nothing refers to: a new one, or one that never reached the record.
    pub(super) fn unused(&self) -> Option<BatchNo> {
        let straggler = self.straggler.map(|straggler| match straggler {
            Straggler::Dispatcher(task) => task.batch,
            Straggler::Sweep(visit) => visit.batch,
        });
        let tasks = self.dispatchers.iter().flatten().map(|task| task.batch);
        let visits = self.sweeps.iter().flatten().map(|visit| visit.batch);
        let messages = self.messages.iter().filter_map(|message| message.batch);
        let named: Vec<_> = tasks
            .chain(visits)
            .chain(messages)
            .chain(straggler)
            .collect();
        (0..BATCHES as BatchNo)
            .find(|batch| self.batch(*batch).state.is_none() && !named.contains(batch))
    }

    pub(super) fn ring(&mut self, message: MessageNo) {
        let bells = &mut self.bells[usize::from(message)];
        *bells = (*bells + 1).min(BELLS_MAX);
    }

    /// The messages that a dispatcher would read as waiting.
    pub(super) fn waiting(&self) -> Set {
        Set::all().filter(|message| self.message(message).waits())
    }

    /// The messages of the next batch: the oldest that waits, and those that may share its request.
    pub(super) fn next_batch(&self) -> Set {
        let waiting = self.waiting();
        let alone = |message: MessageNo| self.message(message).alone;
        match waiting.first() {
            Some(oldest) if alone(oldest) => Set::of(oldest),
            _ => waiting.filter(|message| !alone(message)),
        }
    }

    /// The messages in this state that name this batch.
    pub(super) fn held(&self, batch: BatchNo, state: State) -> Set {
        Set::all().filter(|message| {
            self.message(message).is(state) && self.message(message).batch == Some(batch)
        })
    }

    /// Whether the dispatcher that claimed for this batch is still at work on it.
    pub(super) fn has_dispatcher(&self, batch: BatchNo) -> bool {
        self.dispatchers
            .iter()
            .flatten()
            .any(|task| task.batch == batch)
    }

    /// Whether some process may, by the deadline of the batch, still wait for the provider's
    /// answer.
    pub(super) fn is_attended(&self, batch: BatchNo) -> bool {
        let visits = self
            .sweeps
            .iter()
            .flatten()
            .filter(|visit| visit.batch == batch);
        let mut repeats = visits.filter(|visit| {
            matches!(
                visit.step,
                sweep::Step::Send | sweep::Step::RecordOutcome { .. }
            )
        });
        self.has_dispatcher(batch) || repeats.next().is_some()
    }

    /// Makes one state of those that differ only in which dispatcher, or which sweep, does what.
    pub(super) fn sort(&mut self) {
        self.dispatchers
            .sort_by_key(|task| task.map(|task| task.batch));
        if self.sweeps[0] > self.sweeps[1] {
            self.sweeps.swap(0, 1);
            for batch in &mut self.batches {
                if let Owner::Sweep(sweep) = &mut batch.owner {
                    *sweep = 1 - *sweep;
                }
            }
        }
    }
}

impl Message {
    pub(super) fn waits(&self) -> bool {
        self.is(State::Accepted) && !self.lapsed
    }

    /// Whether the message waits and is too late to be sent, so that no bell has to ring for it.
    pub(super) fn lapsed_unsent(&self) -> bool {
        self.is(State::Accepted) && self.lapsed
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.state == Some(state)
    }
}

impl Batch {
    pub(super) fn is(&self, state: BatchState) -> bool {
        self.state == Some(state)
    }

    pub(super) fn is_open(&self) -> bool {
        self.is(BatchState::Started) || self.is(BatchState::Unknown)
    }
}
