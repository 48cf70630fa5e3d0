//! The wire of seed 3's providers: one POST carries one message and says where its status is to be reported.
//!
//! # The contract
//!
//! ```text
//! POST {url}
//! Authorization: Bearer <token>          only if there is a token
//! Content-Type: application/json
//!
//! {"to_number": "+31633450007", "message": "text", "callback_url": "<our address>/messages/delivery_status/
//!     <its name here>/<our message id>?proof=<hex>"}
//! ```
//!
//! The contract knows no originator, so none is sent: the provider shows its own. Nor does it know a key that would
//! tell a repeat, so a request without an answer is never made again.
//!
//! | answer | meaning |
//! |---|---|
//! | 200 `{"message_id": "…"}` | taken and billed |
//! | 500 | an error answer, whatever its body: nothing was taken |
//!
//! The message's fate comes later, as a POST to its `callback_url`:
//!
//! ```text
//! {"status": "delivered", "message_id": "<the provider's>"}          or "failed", or "invalid": there is no such number
//! ```
//!
//! That address holds our own id, so a report needs no mapping and may come before our answer is read; and the
//! [proof](crate::proof) that we gave it to this provider, under the first of its `webhook_secrets`.

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::wire::{self, Contract, Failure, Taken, Wire};
use super::{Provider, Sent, Unusable};
use crate::id::MessageId;
use crate::message::Message;
use crate::proof::ProofKey;

/// The client of a provider that calls back.
#[derive(Clone)]
pub(super) struct Callback {
    wire: Wire,
    provider: String,
    key: ProofKey,
    /// Where it reports, but for the message.
    reports: String,
}

#[derive(Serialize)]
struct Request<'a> {
    to_number: &'a str,
    message: &'a str,
    callback_url: String,
}

#[derive(Deserialize)]
struct Accepted {
    message_id: String,
}

impl Callback {
    /// Fails where there is no secret to make proofs with.
    pub(super) fn new(
        provider: &Provider,
        token: &str,
        webhook_secrets: &str,
        reports: String,
    ) -> Result<Self, Unusable> {
        let authorization = (!token.is_empty()).then(|| format!("Bearer {token}"));
        let secret = webhook_secrets.split_whitespace().next().unwrap_or_default();
        Ok(Self {
            wire: Wire::new(provider, "", authorization)?,
            provider: provider.name.clone(),
            key: ProofKey::parse(secret).map_err(|problem| Unusable(format!("webhook_secrets: {problem}")))?,
            reports,
        })
    }

    pub(super) async fn send(&self, message: &Message) -> Sent {
        let body = Request {
            to_number: message.recipient.as_str(),
            message: message.body.as_str(),
            callback_url: self.callback_url(message.id),
        };
        wire::ask::<Self>(self.wire.post().json(&body)).await
    }

    fn callback_url(&self, id: MessageId) -> String {
        format!("{}/{id}?proof={}", self.reports, self.key.proof(&self.provider, &id.to_string()))
    }
}

impl Contract for Callback {
    fn taken(body: &[u8]) -> Option<Taken> {
        let Accepted { message_id } = serde_json::from_slice(body).ok()?;
        Some(Taken { request_id: message_id, refused: Vec::new() })
    }

    fn failure(status: StatusCode, _: &[u8]) -> Option<Failure> {
        // Its contract knows no error document: these codes are its word alone.
        const ERRORS: [StatusCode; 4] = [
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::INTERNAL_SERVER_ERROR,
        ];
        ERRORS.contains(&status).then(|| Failure::named("error"))
    }
}
