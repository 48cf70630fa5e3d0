//! The bells of one event: what they ring for, and how long they stay quiet when they have to ring again.

use std::collections::HashMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::Error;
use shared::batch::Plan;
use shared::courier::Round;
use shared::id::MessageId;
use shared::message::Message;
use shared::queue::Bell;
use shared::state::State;
use tracing::warn;

/// A bell that has rung in vain stays quiet for so long the first time, and so much longer each further time.
const RETRY_S: i64 = 5;
const RETRY_MAX_S: i64 = 300;
/// Whoever holds a message has ended by then, or been stopped.
const HELD_MAX_S: i64 = 60;
/// The least that the queue can hide a bell for.
const HIDE_MIN_S: i64 = 1;

/// A received bell: how to give it back, and what it rings for.
pub(crate) struct Received {
    pub(crate) item_identifier: String,
    pub(crate) receipt_handle: Option<String>,
    pub(crate) bell: Bell,
    /// How often the queue has delivered it, this time included.
    receive_count: i64,
}

/// Reads the event. A bell that can't be read is dropped with a warning: its message is in the record. A
/// record without an id can't be given back, so it fails the whole event.
pub(crate) fn received(event: SqsEvent) -> Result<Vec<Received>, Error> {
    let mut received = Vec::with_capacity(event.records.len());
    for SqsMessage { message_id, receipt_handle, body, attributes, .. } in event.records {
        let item_identifier = message_id.ok_or("an SQS record has no message id")?;
        let receive_count = attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1);
        match body.as_deref().map(serde_json::from_str::<Bell>) {
            Some(Ok(bell)) => received.push(Received { item_identifier, receipt_handle, bell, receive_count }),
            _ => warn!(sqs_message_id = item_identifier, "a bell can't be read"),
        }
    }
    Ok(received)
}

impl Received {
    /// How long the bell shall stay quiet, if one of its messages still waits or is in somebody's hands.
    pub(crate) fn quiet(
        &self,
        rung: &HashMap<MessageId, Message>,
        ended: Round,
        plan: &Plan,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        let least = SignedDuration::from_secs(HIDE_MIN_S);
        let retry = SignedDuration::from_secs((RETRY_S * self.receive_count).min(RETRY_MAX_S));
        let messages = self.bell.ids.iter().filter_map(|id| rung.get(id));
        let quiet = messages.filter_map(|message| match (message.state, ended) {
            // Its courier will tell it what became of it; should it be gone, the next ring takes up what it left.
            (State::Sending, _) => Some(retry.min(SignedDuration::from_secs(HELD_MAX_S))),
            (State::Accepted, Round::Unsent) => Some(retry),
            (State::Accepted, Round::NoSlot(until)) => Some(until.duration_since(now)),
            (State::Accepted, _) => Some(plan.wait(message.id, now)),
            _ => None,
        });
        quiet.min().map(|time| time.max(least))
    }
}
