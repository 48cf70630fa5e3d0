//! States that some run must reach: without them the promise would not have been put to the test.

use shared::batch::BatchState;
use shared::state::State;
use stateright::Property;

use super::Protocol;
use super::courier::Step;
use super::sets::Set;
use super::world::{BATCHES, Batch, BatchNo, World};

pub(super) fn landmarks() -> Vec<Property<Protocol>> {
    vec![
        reached("both are delivered", |_, world| world.messages.iter().all(|m| m.is(State::Delivered))),
        reached("a report overtakes the courier's own outcome", |_, world| {
            courier(world, |step, batch| matches!(step, Step::Record { .. }) && batch.is(BatchState::Confirmed))
        }),
        reached("a tombstone stands in a courier's way", |_, world| {
            courier(world, |step, batch| step == Step::Intend && batch.is(BatchState::Tomb))
        }),
        reached("an intent is taken back", |_, world| {
            courier(world, |step, batch| step == Step::Reject && batch.is(BatchState::Started))
        }),
        reached("a batch holds a message that it does not list", |_, world| {
            let stranger = |batch| !world.held(batch, State::Sending).without(world.batch(batch).members).is_empty();
            (0..BATCHES as BatchNo).any(|batch| world.batch(batch).is_open() && stranger(batch))
        }),
        reached("both halves of a refused batch are sent", |_, world| {
            let whole = |batch: &Batch| batch.is(BatchState::Rejected) && batch.members == Set::all();
            world.batches.iter().any(whole) && world.messages.iter().all(|message| message.is(State::Confirmed))
        }),
        reached("the poison ends alone, and the rest goes out", |protocol, world| {
            let poison = protocol.settings.poison;
            let end = |message| if poison.has(message) { State::NotSent } else { State::Confirmed };
            !poison.is_empty() && Set::all().iter().all(|message| world.message(message).is(end(message)))
        }),
        reached("a refusal corrects what a report made of it", |protocol, world| {
            let unwanted =
                |message| protocol.settings.unwanted.has(message) && world.message(message).is(State::Confirmed);
            let known = world.batches.iter().fold(Set::EMPTY, |known, batch| known.and(batch.refused));
            known.iter().any(unwanted)
        }),
        reached("two sweeps are at the same batch", |_, world| match world.sweeps {
            [Some(one), Some(other)] => one.batch == other.batch,
            _ => false,
        }),
        reached("a doubt is settled under the key", |protocol, world| {
            let repeated = |batch: &Batch| doubted(batch, BatchState::Confirmed) && batch.attempts > 1;
            protocol.is_keyed() && world.batches.iter().any(repeated)
        }),
        reached("a doubt is settled by a report", |protocol, world| {
            !protocol.is_keyed() && world.batches.iter().any(|batch| doubted(batch, BatchState::Confirmed))
        }),
        reached("a doubt is settled by an operator", |_, world| {
            world.batches.iter().any(|batch| doubted(batch, BatchState::Rejected))
        }),
        reached("a doubt outlives its key", |_, world| {
            let forgotten = |batch: usize| {
                let requests = world.provider.requests[batch];
                requests.billed == 1 && !requests.remembered && world.batches[batch].is(BatchState::Unknown)
            };
            (0..world.batches.len()).any(forgotten)
        }),
        reached("a message expires", |_, world| world.messages.iter().any(|m| m.lapsed && m.is(State::NotSent))),
    ]
}

fn reached(name: &'static str, is_here: fn(&Protocol, &World) -> bool) -> Property<Protocol> {
    Property::sometimes(name, is_here)
}

fn courier(world: &World, is_at: impl Fn(Step, &Batch) -> bool) -> bool {
    world.couriers.iter().flatten().any(|errand| is_at(errand.step, world.batch(errand.batch)))
}

fn doubted(batch: &Batch, settled: BatchState) -> bool {
    batch.ambiguous && batch.is(settled)
}
