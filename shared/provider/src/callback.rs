//! The protocol of seed 3's providers: one POST carries one message and an address for reports.
//!
//! # The contract
//!
//! ```text
//! POST {url}
//! Authorization: Bearer <token>          only if there is a token
//! Content-Type: application/json
//!
//! {"to_number": "+31633450007", "message": "text", "callback_url":
//!  "<our address>/messages/delivery_status/<the provider's name here>/<our message id>?token=<hex>"}
//! ```
//!
//! The contract has no originator, so none is sent, and the provider shows its own. It has no
//! idempotency key either, so a request without an answer is never repeated.
//!
//! | answer | meaning |
//! |---|---|
//! | 200 `{"message_id": "…"}` | accepted and billed |
//! | 500 | an error answer, whatever its body: nothing was accepted |
//!
//! The message's delivery status comes later, as a POST to its `callback_url`:
//!
//! ```text
//! {"status": "delivered", "message_id": "<the provider's>"}
//! ```
//!
//! `status` may also be `failed`, or `invalid` where there is no such number.
//!
//! The address holds our own id, so a report needs no mapping and may arrive before we have read
//! the answer. It also holds a [token](domain::callback_token), made with the first of the
//! provider's `webhook_secrets`, which proves that we gave the address to this provider.

use domain::callback_token::CallbackKey;
use domain::id::MessageId;
use domain::message::Message;
use domain::provider::Provider;
use domain::send_result::SendResult;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::ProviderError;
use crate::wire::{self, Acceptance, Contract, Failure, Wire};

/// The client for a provider that calls back.
#[derive(Clone)]
pub(crate) struct Callback {
    wire: Wire,
    provider: String,
    key: CallbackKey,
    /// The address that the provider reports to, without the message id and the token.
    reports: String,
}

#[derive(Serialize)]
struct Request<'a> {
    to_number: &'a str,
    message: &'a str,
    callback_url: String,
}

#[derive(Deserialize)]
struct AcceptedMessage {
    message_id: String,
}

impl Callback {
    /// Fails if there is no secret to make tokens with.
    pub(crate) fn new(
        provider: &Provider,
        token: &str,
        webhook_secrets: &str,
        reports: String,
    ) -> Result<Self, ProviderError> {
        let authorization = (!token.is_empty()).then(|| format!("Bearer {token}"));
        let secret = webhook_secrets
            .split_whitespace()
            .next()
            .unwrap_or_default();
        Ok(Self {
            wire: Wire::new(provider, "", authorization)?,
            provider: provider.name.clone(),
            key: CallbackKey::parse(secret)
                .map_err(|problem| ProviderError(format!("webhook_secrets: {problem}")))?,
            reports,
        })
    }

    pub(crate) async fn send(&self, message: &Message) -> SendResult {
        let body = Request {
            to_number: message.recipient.as_str(),
            message: message.body.as_str(),
            callback_url: self.callback_url(message.id),
        };
        wire::send::<Self>(self.wire.post().json(&body)).await
    }

    fn callback_url(&self, id: MessageId) -> String {
        format!(
            "{}/{id}?token={}",
            self.reports,
            self.key.token(&self.provider, &id.to_string())
        )
    }
}

impl Contract for Callback {
    fn acceptance(body: &[u8]) -> Option<Acceptance> {
        let AcceptedMessage { message_id } = serde_json::from_slice(body).ok()?;
        Some(Acceptance {
            request_id: message_id,
            refused: Vec::new(),
        })
    }

    fn failure(status: StatusCode, _: &[u8]) -> Option<Failure> {
        // The contract has no error document, so these codes alone count as its errors.
        const ERRORS: [StatusCode; 4] = [
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::INTERNAL_SERVER_ERROR,
        ];
        ERRORS.contains(&status).then(|| Failure::named("error"))
    }
}
