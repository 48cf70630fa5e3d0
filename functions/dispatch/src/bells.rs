//! The bells of one event: what they ring for, and how to give them back.

use std::collections::HashMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use domain::batch_policy::BatchPolicy;
use domain::bell::{self, Named};
use domain::dispatched::Dispatched;
use domain::id::MessageId;
use domain::message::Message;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::Error;
use record::queue::Bell;
use tracing::warn;

/// A received bell.
pub(crate) struct Received {
    pub(crate) item_identifier: String,
    pub(crate) receipt_handle: Option<String>,
    pub(crate) bell: Bell,
    /// How often the queue has delivered it, this time included.
    receive_count: i64,
}

/// Reads the event. A bell that cannot be read is dropped with a warning: its message is in the
/// record. A record without an id cannot be given back, so it fails the whole event.
pub(crate) fn received(event: SqsEvent) -> Result<Vec<Received>, Error> {
    let mut received = Vec::with_capacity(event.records.len());
    for SqsMessage {
        message_id,
        receipt_handle,
        body,
        attributes,
        ..
    } in event.records
    {
        let item_identifier = message_id.ok_or("an SQS record has no message id")?;
        let receive_count = attributes.get("ApproximateReceiveCount");
        let receive_count = receive_count
            .and_then(|count| count.parse().ok())
            .unwrap_or(1);
        match body.as_deref().map(serde_json::from_str::<Bell>) {
            Some(Ok(bell)) => {
                received.push(Received {
                    item_identifier,
                    receipt_handle,
                    bell,
                    receive_count,
                });
            }
            _ => warn!(
                sqs_message_id = item_identifier,
                "a bell cannot be read and is dropped; the sweep rings for its messages"
            ),
        }
    }
    Ok(received)
}

impl Received {
    /// How long until the bell rings again; none if its messages are finished.
    pub(crate) fn retry_after(
        &self,
        messages: &HashMap<MessageId, Message>,
        ended: Dispatched,
        policy: &BatchPolicy,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        let named = self.bell.ids.iter().filter_map(|id| messages.get(id));
        let named = named.map(|message| Named {
            state: message.state,
            wait: policy.wait(message.id, now),
        });
        bell::retry_after(named, ended, self.receive_count, now)
    }

    /// How long until the bell of a failed event rings again.
    pub(crate) fn retry(&self) -> SignedDuration {
        bell::retry(self.receive_count)
    }
}
