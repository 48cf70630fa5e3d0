//! A message as the record keeps it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::id::{BatchId, MessageId};
use crate::message_request::{MessageRequest, VALIDITY_DEFAULT_S};
use crate::originator::Originator;
use crate::recipient::Recipient;
use crate::segment::{self, Encoding};
use crate::state::{Reason, State};
use crate::text::Text;

/// One item of table Messages. Instants are milliseconds since 1970 there, so that conditions can
/// compare them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    /// The name of the client that posted it.
    pub client: String,
    pub recipient: Recipient,
    pub originator: Originator,
    pub body: Text,
    pub encoding: Encoding,
    pub segments: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// After this moment it is not sent any more.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub valid_until: Timestamp,
    pub state: State,
    /// The batch that holds it, or held it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<BatchId>,
    /// The provider of that batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// How often it was claimed.
    pub tries: u32,
    /// How many batches with it ended in an error answer of the provider, which counts against it.
    #[serde(default)]
    pub errors: u32,
    /// A provider refused a batch with this message in it, so its next batch holds at most this
    /// many: halving leaves the message that the provider will not take on its own in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The provider reported a message that the record says was not sent.
    #[serde(default)]
    pub contradicted: bool,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
}

impl Message {
    /// The message that `client`'s request becomes when it is accepted at `now` under `id`.
    pub fn accepted(id: MessageId, client: &str, request: MessageRequest, now: Timestamp) -> Self {
        let segments = segment::segments(request.message.as_str());
        let default = SignedDuration::from_secs(VALIDITY_DEFAULT_S);
        Self {
            id,
            client: client.to_owned(),
            recipient: request.recipient,
            originator: request.originator,
            body: request.message,
            encoding: segments.encoding,
            segments: segments.count,
            reference: request.reference,
            valid_until: request.valid_until.unwrap_or(now + default),
            state: State::Accepted,
            batch_id: None,
            provider: None,
            tries: 0,
            errors: 0,
            batch_max: None,
            reason: None,
            contradicted: false,
            updated_at: now,
        }
    }

    /// It may still be sent at `now`: W2's condition says the same, and W11's the opposite.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.valid_until > now
    }
}
