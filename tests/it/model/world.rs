//! What there is: the record, the bells, whoever is at work, and the provider's ledger.

use shared::batch::BatchState;
use shared::state::State;

use super::courier::Errand;
use super::operator::Word;
use super::provider::Ledger;
use super::sets::Set;
use super::settings::Events;
use super::status::Update;
use super::sweep::{self, Visit};

pub(super) const MESSAGES: usize = 2;
/// Enough for every run; a property says so.
pub(super) const BATCHES: usize = 8;
const COURIERS: usize = 2;
const SWEEPS: usize = 2;
/// Two bells for one message do all that more could do.
const BELLS_MAX: u8 = 2;

pub(super) type MessageNo = u8;
pub(super) type BatchNo = u8;

/// Everything, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) messages: [Message; MESSAGES],
    /// Bells in the queue, by message.
    pub(super) bells: [u8; MESSAGES],
    pub(super) batches: [Batch; BATCHES],
    pub(super) couriers: [Option<Errand>; COURIERS],
    pub(super) sweeps: [Option<Visit>; SWEEPS],
    pub(super) update: Option<Update>,
    pub(super) word: Option<Word>,
    /// A write that is still on its way, though nobody waits for it.
    pub(super) straggler: Option<Straggler>,
    pub(super) provider: Ledger,
    pub(super) happened: Events,
    pub(super) witness: Witness,
}

/// A message in the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Message {
    /// Nothing while it is not in the record.
    pub(super) state: Option<State>,
    pub(super) batch: Option<BatchNo>,
    /// Batches of it that ended in an error answer.
    pub(super) errors: u8,
    /// A provider refused it together with another one: it goes out alone.
    pub(super) alone: bool,
    /// Recorded, and its bell is not yet sent.
    pub(super) unrung: bool,
    /// Its `valid_until` has passed.
    pub(super) lapsed: bool,
}

/// A batch in the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    /// Nothing while it is not in the record.
    pub(super) state: Option<BatchState>,
    pub(super) members: Set,
    pub(super) attempts: u8,
    pub(super) ambiguous: bool,
    pub(super) owner: Owner,
    pub(super) refused: Set,
    /// What an operator said of a batch that was not sent: whether its members go out with another one.
    pub(super) word: Option<bool>,
}

/// Who registered a batch's last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// An invocation that has ended: no later one has its name.
    #[default]
    Gone,
    /// The one courier that claimed for it.
    Courier,
    Sweep(u8),
}

/// Whose step it was, with what it knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Straggler {
    Courier(Errand),
    Sweep(Visit),
}

/// What a property must know of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Witness {
    pub(super) first_final: [Option<State>; MESSAGES],
    /// A report about these was answered with 200.
    pub(super) reported: Set,
    /// A request carried something that no batch in the record listed.
    pub(super) unlisted: bool,
    /// There was no batch number left.
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

    /// A batch number that nothing and nobody refers to: a new one, or one that came to nothing.
    pub(super) fn unused(&self) -> Option<BatchNo> {
        let straggler = self.straggler.map(|straggler| match straggler {
            Straggler::Courier(errand) => errand.batch,
            Straggler::Sweep(visit) => visit.batch,
        });
        let errands = self.couriers.iter().flatten().map(|errand| errand.batch);
        let visits = self.sweeps.iter().flatten().map(|visit| visit.batch);
        let messages = self.messages.iter().filter_map(|message| message.batch);
        let named: Vec<_> = errands.chain(visits).chain(messages).chain(straggler).collect();
        (0..BATCHES as BatchNo).find(|batch| self.batch(*batch).state.is_none() && !named.contains(batch))
    }

    pub(super) fn ring(&mut self, message: MessageNo) {
        let bells = &mut self.bells[usize::from(message)];
        *bells = (*bells + 1).min(BELLS_MAX);
    }

    /// The messages that a courier would read as waiting.
    pub(super) fn waiting(&self) -> Set {
        Set::all().filter(|message| self.message(message).waits())
    }

    /// The messages of the next batch: the oldest that waits, and with it those that may share its request.
    pub(super) fn load(&self) -> Set {
        let waiting = self.waiting();
        let alone = |message: MessageNo| self.message(message).alone;
        match waiting.first() {
            Some(oldest) if alone(oldest) => Set::of(oldest),
            _ => waiting.filter(|message| !alone(message)),
        }
    }

    /// The messages in this state that name this batch as theirs.
    pub(super) fn held(&self, batch: BatchNo, state: State) -> Set {
        Set::all().filter(|message| self.message(message).is(state) && self.message(message).batch == Some(batch))
    }

    /// The courier that claimed for this batch is still at it, or at its parts.
    pub(super) fn is_carried(&self, batch: BatchNo) -> bool {
        self.couriers.iter().flatten().any(|errand| errand.batch == batch)
    }

    /// By its deadline, somebody may be waiting for the provider's answer to a request for this batch.
    pub(super) fn is_attended(&self, batch: BatchNo) -> bool {
        let visits = self.sweeps.iter().flatten().filter(|visit| visit.batch == batch);
        let mut repeats = visits.filter(|visit| matches!(visit.step, sweep::Step::Offer | sweep::Step::Record { .. }));
        self.is_carried(batch) || repeats.next().is_some()
    }

    /// The couriers are alike, and so are the sweeps: worlds that differ in who is who are one.
    pub(super) fn sort(&mut self) {
        self.couriers.sort_by_key(|errand| errand.map(|errand| errand.batch));
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
