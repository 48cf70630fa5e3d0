//! FastSMSing's protocol: one POST carries a whole batch, and FastSMSing bills each POST.
//!
//! # The contract
//!
//! ```text
//! POST {url}/batches
//! Authorization: Bearer <token>
//! Idempotency-Key: <batch id>
//! Content-Type: application/json
//!
//! {"batch_id": "<our id>", "messages": [
//!   {"message_id": "<our id>", "phone_number": "+31633450007", "originator": "MB", "message": "text"},
//!   …]}
//! ```
//!
//! | answer | meaning |
//! |---|---|
//! | 202 `{"request_id": "…", "accepted": n, "refused": [{"message_id": "…", "reason": "…"}]}` | accepted and billed once; the refused ones are not sent |
//! | 202 for a key repeated within `key_lifetime_s` | the first answer again, with the header `Idempotent-Replayed: true`; nothing is billed |
//! | 400, 413, 422 `{"error": {"code": "…", "message": "…"}}` | the batch is refused as a whole and not billed |
//! | 401, 403, 404 | the token or the address is wrong |
//! | 409 | a request with this key is still being worked on |
//! | 429, 503 with `Retry-After: <seconds>` | too fast or too busy; nothing was accepted |
//! | 500 `{"error": {…}}` | an error answer: nothing was accepted |
//!
//! Delivery statuses come later, in batches, to our webhook `POST /messages/delivery_status`.
//! They are signed by the rules of Standard Webhooks (`webhook-id`, `webhook-timestamp`,
//! `webhook-signature: v1,<base64>` over `<id>.<timestamp>.<body>`), and are a map from
//! message id to one of three statuses:
//!
//! ```text
//! {"<message id>": "CONFIRMED", "<message id>": "DELIVERED", "<message id>": "FAILED"}
//! ```
//!
//! `GET {url}/invoice?from=<RFC 3339>&to=<RFC 3339>` answers one JSON line per billed request:
//! `{"request_id": "…", "batch_id": "…", "at": "<RFC 3339>", "messages": n, "requests": 1}`.

use domain::id::{BatchId, MessageId};
use domain::message::Message;
use domain::provider::Provider;
use domain::send_result::SendResult;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::ProviderError;
use crate::wire::{self, Acceptance, Contract, Failure, Wire};

/// The client for FastSMSing.
#[derive(Clone)]
pub(crate) struct FastSmsing {
    wire: Wire,
}

#[derive(Serialize)]
struct Request<'a> {
    batch_id: BatchId,
    messages: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    message_id: MessageId,
    phone_number: &'a str,
    originator: &'a str,
    message: &'a str,
}

#[derive(Deserialize)]
struct AcceptedBatch {
    request_id: String,
    #[serde(default)]
    refused: Vec<RefusedMessage>,
}

#[derive(Deserialize)]
struct RefusedMessage {
    message_id: MessageId,
}

#[derive(Deserialize)]
struct ErrorDocument {
    error: ErrorCode,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: String,
}

impl FastSmsing {
    pub(crate) fn new(provider: &Provider, token: &str) -> Result<Self, ProviderError> {
        Ok(Self {
            wire: Wire::new(provider, "/batches", Some(format!("Bearer {token}")))?,
        })
    }

    pub(crate) async fn send(&self, id: BatchId, messages: &[Message]) -> SendResult {
        let body = Request {
            batch_id: id,
            messages: messages.iter().map(Entry::of).collect(),
        };
        wire::send::<Self>(
            self.wire
                .post()
                .header("Idempotency-Key", id.to_string())
                .json(&body),
        )
        .await
    }
}

impl Contract for FastSmsing {
    fn acceptance(body: &[u8]) -> Option<Acceptance> {
        let AcceptedBatch {
            request_id,
            refused,
        } = serde_json::from_slice(body).ok()?;
        Some(Acceptance {
            request_id,
            refused: refused
                .into_iter()
                .map(|refused| refused.message_id)
                .collect(),
        })
    }

    fn failure(_: StatusCode, body: &[u8]) -> Option<Failure> {
        let ErrorDocument { error } = serde_json::from_slice(body).ok()?;
        Some(Failure::named(&error.code))
    }
}

impl<'a> Entry<'a> {
    fn of(message: &'a Message) -> Self {
        Self {
            message_id: message.id,
            phone_number: message.recipient.as_str(),
            originator: message.originator.as_str(),
            message: message.body.as_str(),
        }
    }
}
