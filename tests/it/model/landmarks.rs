//! States that some run must reach: without them, the promises would not have been put to the test.

use domain::batch::BatchState;
use domain::state::State;
use stateright::Property;

use super::Protocol;
use super::dispatcher::Step;
use super::sets::Set;
use super::world::{BATCHES, Batch, BatchNo, MessageNo, World};

pub(super) fn landmarks() -> Vec<Property<Protocol>> {
    let mut landmarks = ends_of_messages();
    landmarks.extend(races());
    landmarks.extend(refusals());
    landmarks.extend(doubts());
    landmarks
}

fn ends_of_messages() -> Vec<Property<Protocol>> {
    vec![
        reached("both are delivered", |_, world| {
            world
                .messages
                .iter()
                .all(|message| message.is(State::Delivered))
        }),
        reached("a message expires", |_, world| {
            let expired = |message: MessageNo| {
                let message = world.message(message);
                message.lapsed && message.is(State::NotSent)
            };
            Set::all().iter().any(expired)
        }),
    ]
}

/// Two processes meet at the same batch.
fn races() -> Vec<Property<Protocol>> {
    vec![
        reached(
            "a report overtakes the dispatcher's own outcome",
            |_, world| {
                dispatcher(world, |step, batch| {
                    matches!(step, Step::RecordOutcome { .. }) && batch.is(BatchState::Confirmed)
                })
            },
        ),
        reached("a tombstone prevents an intent", |_, world| {
            dispatcher(world, |step, batch| {
                step == Step::WriteIntent && batch.is(BatchState::Abandoned)
            })
        }),
        reached("a dispatcher withdraws its intent", |_, world| {
            dispatcher(world, |step, batch| {
                step == Step::Reject && batch.is(BatchState::Started)
            })
        }),
        reached(
            "a batch holds a message that it does not list",
            |_, world| {
                let holds_stranger = |batch| {
                    let held = world.held(batch, State::Sending);
                    !held.without(world.batch(batch).members).is_empty()
                };
                let mut batches = 0..BATCHES as BatchNo;
                batches.any(|batch| world.batch(batch).is_open() && holds_stranger(batch))
            },
        ),
        reached("two sweeps are at the same batch", |_, world| {
            match world.sweeps {
                [Some(one), Some(other)] => one.batch == other.batch,
                _ => false,
            }
        }),
    ]
}

fn refusals() -> Vec<Property<Protocol>> {
    vec![
        reached("both halves of a refused batch are sent", |_, world| {
            let refused =
                |batch: &Batch| batch.is(BatchState::Rejected) && batch.members == Set::all();
            let mut messages = world.messages.iter();
            world.batches.iter().any(refused)
                && messages.all(|message| message.is(State::Confirmed))
        }),
        reached(
            "the poison ends alone, and the rest goes out",
            |protocol, world| {
                let poison = protocol.settings.poison;
                let has_ended = |message| {
                    let end = if poison.has(message) {
                        State::NotSent
                    } else {
                        State::Confirmed
                    };
                    world.message(message).is(end)
                };
                !poison.is_empty() && Set::all().iter().all(has_ended)
            },
        ),
        reached(
            "a refusal corrects what a report made of a message",
            |protocol, world| {
                let is_unwanted = |message| {
                    let confirmed = world.message(message).is(State::Confirmed);
                    confirmed && protocol.settings.unwanted.has(message)
                };
                world
                    .batches
                    .iter()
                    .any(|batch| batch.refused.iter().any(is_unwanted))
            },
        ),
    ]
}

fn doubts() -> Vec<Property<Protocol>> {
    vec![
        reached("a doubt is settled under the key", |protocol, world| {
            let is_repeated =
                |batch: &Batch| was_in_doubt(batch, BatchState::Confirmed) && batch.attempts > 1;
            protocol.is_keyed() && world.batches.iter().any(is_repeated)
        }),
        reached("a doubt is settled by a report", |protocol, world| {
            let mut batches = world.batches.iter();
            !protocol.is_keyed() && batches.any(|batch| was_in_doubt(batch, BatchState::Confirmed))
        }),
        reached("a doubt is settled by an operator", |_, world| {
            let mut batches = world.batches.iter();
            batches.any(|batch| was_in_doubt(batch, BatchState::Rejected))
        }),
        reached("a doubt outlives its key", |_, world| {
            let is_forgotten = |batch: usize| {
                let requests = world.provider.requests[batch];
                let unknown = world.batches[batch].is(BatchState::Unknown);
                requests.billed == 1 && !requests.remembered && unknown
            };
            (0..world.batches.len()).any(is_forgotten)
        }),
    ]
}

fn reached(name: &'static str, is_here: fn(&Protocol, &World) -> bool) -> Property<Protocol> {
    Property::sometimes(name, is_here)
}

/// Whether some dispatcher is at such a step of such a batch.
fn dispatcher(world: &World, is_at: impl Fn(Step, &Batch) -> bool) -> bool {
    let mut tasks = world.dispatchers.iter().flatten();
    tasks.any(|task| is_at(task.step, world.batch(task.batch)))
}

/// Whether the batch was UNKNOWN before it came into this state.
fn was_in_doubt(batch: &Batch, settled: BatchState) -> bool {
    batch.ambiguous && batch.is(settled)
}
