//! The promises, as properties that must hold in every state.

use domain::batch::BatchState;
use domain::state::{State, Submission};
use stateright::Property;

use super::Protocol;
use super::sets::Set;
use super::settings::Event;
use super::world::{BATCHES, Batch, BatchNo, Message, MessageNo, World};

pub(super) fn promises() -> Vec<Property<Protocol>> {
    vec![
        always("no message is sent twice", |_, world| {
            world.provider.sent.iter().all(|&sent| sent <= 1)
        }),
        always(
            "what was sent is never shown as waiting or not sent",
            |_, world| {
                Set::all()
                    .iter()
                    .all(|message| !is_sent(world, message) || !is_hidden(world.message(message)))
            },
        ),
        always(
            "CONFIRMED, DELIVERED and FAILED were sent",
            |protocol, world| {
                Set::all()
                    .iter()
                    .all(|message| match world.message(message).state {
                        Some(State::Delivered | State::Failed) => is_sent(world, message),
                        Some(State::Confirmed) => {
                            is_sent(world, message) || protocol.is_lost_refusal(world, message)
                        }
                        _ => true,
                    })
            },
        ),
        always("every batch agrees with the invoice", |_, world| {
            (0..BATCHES as BatchNo).all(|batch| match world.batch(batch).state {
                Some(BatchState::Confirmed) => billed(world, batch) == 1,
                Some(BatchState::Started | BatchState::Unknown) => billed(world, batch) <= 1,
                None | Some(BatchState::Abandoned | BatchState::Rejected) => {
                    billed(world, batch) == 0
                }
            })
        }),
        always("the first final state stays", |_, world| {
            let first = world.witness.first_final.iter();
            world
                .messages
                .iter()
                .zip(first)
                .all(|(message, first)| first.is_none_or(|first| message.is(first)))
        }),
        always("only what a batch lists is sent", |_, world| {
            !world.witness.unlisted
        }),
        always(
            "at rest nothing is lost and nothing is stuck",
            |protocol, world| !protocol.is_at_rest(world) || protocol.is_settled(world),
        ),
        always("no message is sent around for ever", |_, world| {
            !world.witness.exhausted
        }),
    ]
}

fn always(name: &'static str, holds: fn(&Protocol, &World) -> bool) -> Property<Protocol> {
    Property::always(name, holds)
}

impl Protocol {
    /// Whether nothing changes any more unless a report, an event or an operator intervenes.
    fn is_at_rest(&self, world: &World) -> bool {
        let idle = world.dispatchers.iter().all(Option::is_none)
            && world.sweeps.iter().all(Option::is_none)
            && world.update.is_none()
            && world.decision.is_none()
            && world.bells.iter().all(|&bells| bells == 0);
        let begun =
            |message| world.message(message).state.is_some() && !world.message(message).bell_unsent;
        let wakes = |message| self.needs_bell(world, message) || self.is_due(world, message);
        let swept = !(0..BATCHES as BatchNo).any(|batch| self.needs_recovery(world, batch))
            && !(0..self.settings.messages).any(wakes);
        idle && swept && !world.witness.exhausted && (0..self.settings.messages).all(begun)
    }

    /// Whether everything has ended as it should.
    fn is_settled(&self, world: &World) -> bool {
        let is_confirmed = |message: MessageNo| {
            let batch = world.message(message).batch.map(|batch| world.batch(batch));
            batch.is_some_and(|batch| batch.is(BatchState::Confirmed))
        };
        (0..self.settings.messages).all(|message| self.has_ended(world, message))
            && world.witness.reported.iter().all(is_confirmed)
            && world
                .batches
                .iter()
                .all(|batch| !batch.is(BatchState::Started))
    }

    /// Whether the message is in a state in which it may stay.
    fn has_ended(&self, world: &World, message: MessageNo) -> bool {
        let seen = world.message(message);
        let Some(holder) = seen.batch else {
            return seen.is(State::NotSent) && seen.lapsed;
        };
        let batch = world.batch(holder);
        let refused = batch.refused.has(message);
        match seen.state {
            Some(State::Delivered | State::Failed) => true,
            Some(State::Confirmed) => !refused,
            Some(State::NotSent) => {
                refused || (batch.is(BatchState::Rejected) && self.has_cause(world, batch))
            }
            // A doubt may stay only if there was a cause for it and there is no key to end it.
            Some(State::Unconfirmed) => {
                let listed = batch.is(BatchState::Unknown) && batch.members.has(message);
                listed
                    && has_doubt(world)
                    && (!self.is_remembered(world, holder) || self.is_poisoned(batch))
            }
            None | Some(State::Accepted | State::Sending) => false,
        }
    }

    /// Whether the provider refused this member of a batch that it accepted, and said so in an
    /// answer that was lost. The record then knows of the batch by a report about another member
    /// only, and that speaks for the whole batch.
    fn is_lost_refusal(&self, world: &World, message: MessageNo) -> bool {
        let accepted =
            |batch: BatchNo| world.batch(batch).members.has(message) && billed(world, batch) > 0;
        self.settings.unwanted.has(message) && world.message(message).batch.is_some_and(accepted)
    }

    /// Whether something happened that may end the members of a rejected batch as NOT_SENT.
    fn has_cause(&self, world: &World, batch: &Batch) -> bool {
        let answers = [Event::Error, Event::Refusal, Event::Decision];
        answers.iter().any(|&event| world.happened.of(event) > 0)
            || (self.is_poisoned(batch) && batch.members.count() == 1)
    }

    fn is_poisoned(&self, batch: &Batch) -> bool {
        batch.members.intersects(self.settings.poison)
    }
}

/// Whether something happened that may leave a batch in doubt.
fn has_doubt(world: &World) -> bool {
    let causes = [
        Event::Unanswered,
        Event::Crash,
        Event::Premature,
        Event::Lost,
        Event::Straggler,
    ];
    causes.iter().any(|&event| world.happened.of(event) > 0)
}

fn is_sent(world: &World, message: MessageNo) -> bool {
    world.provider.sent[usize::from(message)] > 0
}

/// Whether the message is shown as if the provider never had it.
fn is_hidden(message: &Message) -> bool {
    matches!(
        message.state.map(State::submission),
        None | Some(Submission::Queued | Submission::NotSent)
    )
}

fn billed(world: &World, batch: BatchNo) -> u8 {
    world.provider.requests[usize::from(batch)].billed
}
