//! The provider: what it takes and bills, what it forgets, and what it answers.

use super::Protocol;
use super::courier;
use super::sets::Set;
use super::settings::Key;
use super::sweep;
use super::world::{BATCHES, BatchNo, MESSAGES, World};

/// What the provider knows, and what is on its way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// How often it sent each message.
    pub(super) sent: [u8; MESSAGES],
    /// Reports that it made of each.
    pub(super) reports: [u8; MESSAGES],
    pub(super) requests: [Requests; BATCHES],
}

/// The requests for one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Requests {
    pub(super) billed: u8,
    /// The messages of a request that was given up and may still arrive.
    pub(super) under_way: Set,
    /// The provider knows the batch's key.
    pub(super) remembered: bool,
    /// By the protocol's reckoning, it may have forgotten it.
    pub(super) too_old: bool,
}

/// What comes back from a request: the classes of DESIGN §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 2xx: sent, but for those refused.
    Taken { refused: Set },
    /// 5xx with the provider's error: not sent, and it counts.
    Error,
    /// 429, 503, no connection, or a wrong configuration: not sent, and it does not count.
    Busy,
    /// 400, 413, 422: not sent, and never will be.
    Refused,
    /// Nothing that could be read.
    None,
}

impl Protocol {
    pub(super) fn is_keyed(&self) -> bool {
        self.settings.key != Key::None
    }

    /// The key of a batch is young enough to repeat a request under it: the provider surely knows it by then.
    pub(super) fn is_remembered(&self, world: &World, batch: BatchNo) -> bool {
        self.is_keyed() && !world.provider.requests[usize::from(batch)].too_old
    }

    /// A request arrives: it is billed and sent, unless its key or its messages speak against it.
    pub(super) fn arrives(&self, world: &mut World, batch: BatchNo, members: Set) {
        let listed = world.batch(batch).members;
        world.witness.unlisted |= !members.without(listed).is_empty();
        let keyed = self.is_keyed();
        let requests = &mut world.provider.requests[usize::from(batch)];
        if (keyed && requests.remembered) || members.meets(self.settings.poison) {
            return;
        }
        requests.billed += 1;
        requests.remembered = true;
        for message in members.without(self.settings.unwanted).iter() {
            world.provider.sent[usize::from(message)] += 1;
        }
    }

    /// A request is made and answered.
    pub(super) fn request(&self, world: &mut World, batch: BatchNo, members: Set, answer: Answer) {
        match answer {
            Answer::Taken { .. } => self.arrives(world, batch, members),
            Answer::None => {
                let requests = &mut world.provider.requests[usize::from(batch)];
                requests.under_way = requests.under_way.and(members);
            }
            Answer::Error | Answer::Busy | Answer::Refused => {}
        }
    }

    /// A request that was given up arrives after all.
    pub(super) fn arrives_late(&self, world: &mut World, batch: BatchNo) {
        let members = world.provider.requests[usize::from(batch)].under_way;
        self.vanishes(world, batch);
        self.arrives(world, batch, members);
    }

    pub(super) fn vanishes(&self, world: &mut World, batch: BatchNo) {
        world.provider.requests[usize::from(batch)].under_way = Set::EMPTY;
    }

    /// The time within which a request may be repeated can be over for an open batch.
    pub(super) fn may_grow_old(&self, world: &World, batch: BatchNo) -> bool {
        let requests = world.provider.requests[usize::from(batch)];
        self.settings.key == Key::Expiring && !requests.too_old && world.batch(batch).is_open()
    }

    /// The provider may forget a key some time after that. The one thing here that rests on clocks: the margin
    /// between the two outlasts every request that was begun before, wherever it hangs.
    pub(super) fn may_forget(&self, world: &World, batch: BatchNo) -> bool {
        let requests = world.provider.requests[usize::from(batch)];
        let mut errands = world.couriers.iter().flatten().filter(|errand| errand.batch == batch);
        let mut visits = world.sweeps.iter().flatten().filter(|visit| visit.batch == batch);
        let begun = errands.any(|errand| matches!(errand.step, courier::Step::Offer { .. }))
            || visits.any(|visit| visit.step == sweep::Step::Offer)
            || !requests.under_way.is_empty();
        requests.too_old && requests.remembered && !begun
    }
}
