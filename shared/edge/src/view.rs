//! Messages, batches and numbers as callers read them. A message's stored state is shown as its two
//! public views, `status` and `submission`.

use domain::batch::{Batch, BatchState};
use domain::id::{BatchId, MessageId};
use domain::message::Message;
use domain::number::{Number, NumberStatus};
use domain::originator::Originator;
use domain::recipient::Recipient;
use domain::segment::Encoding;
use domain::state::{Reason, Status, Submission};
use domain::text::Text;
use jiff::Timestamp;
use serde::Serialize;

/// The JSON document of one message.
#[derive(Serialize)]
pub struct MessageView<'a> {
    id: MessageId,
    status: Status,
    submission: Submission,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    recipient: &'a Recipient,
    originator: &'a Originator,
    message: &'a Text,
    encoding: Encoding,
    segments: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    valid_until: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<BatchId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> MessageView<'a> {
    pub fn of(message: &'a Message) -> Self {
        Self {
            id: message.id,
            status: message.state.status(),
            submission: message.state.submission(),
            reason: message.reason,
            recipient: &message.recipient,
            originator: &message.originator,
            message: &message.body,
            encoding: message.encoding,
            segments: message.segments,
            reference: message.reference.as_deref(),
            valid_until: message.valid_until,
            batch_id: message.batch_id,
            provider: message.provider.as_deref(),
            created_at: message.id.created_at(),
            updated_at: message.updated_at,
        }
    }
}

/// The JSON document of one batch.
#[derive(Serialize)]
pub struct BatchView<'a> {
    id: BatchId,
    provider: &'a str,
    state: BatchState,
    messages: usize,
    members: &'a [MessageId],
    refused: &'a [MessageId],
    attempts: u32,
    /// An attempt went without an answer, so no later answer can prove that nothing was sent.
    ambiguous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> BatchView<'a> {
    pub fn of(batch: &'a Batch) -> Self {
        Self {
            id: batch.id,
            provider: &batch.provider,
            state: batch.state,
            messages: batch.members.len(),
            members: &batch.members,
            refused: &batch.refused,
            attempts: batch.attempts,
            ambiguous: batch.ambiguous,
            http_status: batch.http_status,
            request_id: batch.request_id.as_deref(),
            last_error: batch.last_error.as_deref(),
            created_at: batch.id.created_at(),
            updated_at: batch.updated_at,
        }
    }
}

/// The JSON document of one number that a provider reported or an operator decided about.
#[derive(Serialize)]
pub struct NumberView<'a> {
    recipient: &'a Recipient,
    status: NumberStatus,
    since: Timestamp,
    by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
}

impl<'a> NumberView<'a> {
    pub fn of(number: &'a Number) -> Self {
        Self {
            recipient: &number.recipient,
            status: number.status,
            since: number.since,
            by: &number.by,
            message_id: number.message_id,
        }
    }
}
