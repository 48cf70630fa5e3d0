//! The provider: what it accepts and bills, which keys it forgets, and what it answers.

use domain::send_result::AnswerClass;

use super::Protocol;
use super::dispatcher;
use super::sets::Set;
use super::settings::Key;
use super::sweep;
use super::world::{BATCHES, BatchNo, MESSAGES, World};

/// What the provider knows, and the requests that are on their way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// How often it sent each message.
    pub(super) sent: [u8; MESSAGES],
    /// How many reports it made of each message.
    pub(super) reports: [u8; MESSAGES],
    pub(super) requests: [Requests; BATCHES],
}

/// The requests for one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Requests {
    pub(super) billed: u8,
    /// The messages of a request whose client has given up. It may still arrive.
    pub(super) under_way: Set,
    /// The provider knows the key of the batch.
    pub(super) remembered: bool,
    /// The protocol considers the key too old: the provider may have forgotten it.
    pub(super) too_old: bool,
}

/// What comes back from a request, as far as the protocol tells answers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 2xx: all were sent but these.
    Taken { refused: Set },
    /// 5xx with the provider's error document: not sent, and it counts against the messages.
    Error,
    /// 429, 503, no connection or a wrong configuration: not sent, and it does not count against
    /// the messages.
    Busy,
    /// 400, 413 or 422: not sent, and the same request never will be.
    Refused,
    /// No answer, or one that could not be read.
    None,
}

impl Answer {
    pub(super) fn class(self) -> AnswerClass {
        match self {
            Answer::Taken { .. } => AnswerClass::Taken,
            Answer::Error => AnswerClass::ErrorAnswer,
            Answer::Busy => AnswerClass::Busy,
            Answer::Refused => AnswerClass::Refused,
            Answer::None => AnswerClass::NoAnswer,
        }
    }
}

impl Protocol {
    pub(super) fn is_keyed(&self) -> bool {
        self.settings.key != Key::None
    }

    /// Whether the key of a batch is young enough for the provider to be certain to recognise it.
    pub(super) fn is_remembered(&self, world: &World, batch: BatchNo) -> bool {
        self.is_keyed() && !world.provider.requests[usize::from(batch)].too_old
    }

    /// A request arrives. It is billed and sent unless its key was used before or it holds a poison
    /// message.
    pub(super) fn arrives(&self, world: &mut World, batch: BatchNo, members: Set) {
        let listed = world.batch(batch).members;
        world.witness.unlisted |= !members.without(listed).is_empty();
        let keyed = self.is_keyed();
        let requests = &mut world.provider.requests[usize::from(batch)];
        if (keyed && requests.remembered) || members.intersects(self.settings.poison) {
            return;
        }
        requests.billed += 1;
        requests.remembered = true;
        for message in members.without(self.settings.unwanted).iter() {
            world.provider.sent[usize::from(message)] += 1;
        }
    }

    /// A request is made, with this answer.
    pub(super) fn request(&self, world: &mut World, batch: BatchNo, members: Set, answer: Answer) {
        match answer {
            Answer::Taken { .. } => self.arrives(world, batch, members),
            Answer::None => {
                let requests = &mut world.provider.requests[usize::from(batch)];
                requests.under_way = requests.under_way.union(members);
            }
            Answer::Error | Answer::Busy | Answer::Refused => {}
        }
    }

    /// A request whose client has given up arrives after all.
    pub(super) fn arrives_late(&self, world: &mut World, batch: BatchNo) {
        let members = world.provider.requests[usize::from(batch)].under_way;
        self.vanishes(world, batch);
        self.arrives(world, batch, members);
    }

    /// A request whose client has given up never arrives.
    pub(super) fn vanishes(&self, world: &mut World, batch: BatchNo) {
        world.provider.requests[usize::from(batch)].under_way = Set::EMPTY;
    }

    /// Whether the time for repetitions of an open batch can end.
    pub(super) fn may_grow_old(&self, world: &World, batch: BatchNo) -> bool {
        let requests = world.provider.requests[usize::from(batch)];
        self.settings.key == Key::Expiring && !requests.too_old && world.batch(batch).is_open()
    }

    /// Whether the provider can forget the key of a batch: some time after the protocol considers
    /// it too old. This is the one assumption about clocks, that the margin outlasts every request
    /// begun before, wherever it hangs.
    pub(super) fn may_forget(&self, world: &World, batch: BatchNo) -> bool {
        let requests = world.provider.requests[usize::from(batch)];
        let mut tasks = world
            .dispatchers
            .iter()
            .flatten()
            .filter(|task| task.batch == batch);
        let mut visits = world
            .sweeps
            .iter()
            .flatten()
            .filter(|visit| visit.batch == batch);
        let begun = tasks.any(|task| matches!(task.step, dispatcher::Step::Send { .. }))
            || visits.any(|visit| visit.step == sweep::Step::Send)
            || !requests.under_way.is_empty();
        requests.too_old && requests.remembered && !begun
    }
}
