//! MessageBird's protocol, as seed 2 uses it: one POST carries one text to up to 50 recipients.
//!
//! # The contract
//!
//! ```text
//! POST {url}/messages
//! Authorization: AccessKey <token>
//! Content-Type: application/json
//! Accept: application/json
//!
//! {"originator": "MB", "body": "text", "recipients": ["31633450007", …], "datacoding": "plain",
//!  "reference": "<our batch id>",
//!  "reportUrl": "<our address>/messages/delivery_status/<the provider's name here>"}
//! ```
//!
//! A recipient is an MSISDN: E.164 without the plus. `datacoding` is `unicode` for
//! a text that GSM-7 cannot encode. There is no idempotency key, so a request
//! without an answer is never repeated.
//!
//! | answer | meaning |
//! |---|---|
//! | 201 `{"id": "…", "recipients": {"totalSentCount": n, "items": [{"recipient": 31633450007, "status": "sent", "messagePartCount": 1}, …]}}` | accepted and billed |
//! | 4xx `{"errors": [{"code": 9, "description": "…", "parameter": "…"}]}` | nothing was accepted; codes 2 and 25 are about our account |
//! | 429 | too fast; nothing was accepted |
//! | 500 with such a document | an error answer: nothing was accepted |
//!
//! Delivery statuses come later, one call per recipient, to the `reportUrl`:
//!
//! ```text
//! GET …?id=<its id>&reference=<our batch id>&recipient=31633450007&status=delivered&…
//! MessageBird-Signature-JWT: <HS256 under the account's signing key: iss, nbf, exp, jti, url_hash>
//! ```
//!
//! `status` is one of `scheduled`, `sent`, `buffered`, `delivered`, `expired`,
//! `delivery_failed`. For a failure, `statusErrorCode` 1 means that there is no such subscriber.
//! Source: MessageBird's public SMS API.

use domain::id::BatchId;
use domain::message::Message;
use domain::provider::Provider;
use domain::segment::Encoding;
use domain::send_result::SendResult;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use serde::{Deserialize, Serialize};

use crate::error::ProviderError;
use crate::wire::{self, Acceptance, Contract, Failure, Wire};

/// The error codes of a wrong access key and of an empty balance. They concern the
/// account, so no message is to blame.
const CODES_OF_ACCOUNT: [u16; 2] = [2, 25];

/// The client for MessageBird.
#[derive(Clone)]
pub(crate) struct MessageBird {
    wire: Wire,
    report_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    originator: &'a str,
    body: &'a str,
    recipients: Vec<&'a str>,
    datacoding: &'static str,
    reference: BatchId,
    report_url: &'a str,
}

/// The rest of the answer is about recipients, and their reports say more.
#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Deserialize)]
struct ErrorDocument {
    errors: Vec<ErrorCode>,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: u16,
}

impl MessageBird {
    pub(crate) fn new(
        provider: &Provider,
        token: &str,
        report_url: String,
    ) -> Result<Self, ProviderError> {
        Ok(Self {
            wire: Wire::new(provider, "/messages", Some(format!("AccessKey {token}")))?,
            report_url,
        })
    }

    /// Sends `messages`, all of which have the originator and the text of the `first`.
    pub(crate) async fn send(
        &self,
        id: BatchId,
        first: &Message,
        messages: &[Message],
    ) -> SendResult {
        let body = Request {
            originator: first.originator.as_str(),
            body: first.body.as_str(),
            recipients: messages
                .iter()
                .map(|message| message.recipient.digits())
                .collect(),
            datacoding: datacoding(first.encoding),
            reference: id,
            report_url: &self.report_url,
        };
        wire::send::<Self>(
            self.wire
                .post()
                .header(ACCEPT, "application/json")
                .json(&body),
        )
        .await
    }
}

impl Contract for MessageBird {
    fn acceptance(body: &[u8]) -> Option<Acceptance> {
        let Created { id } = serde_json::from_slice(body).ok()?;
        Some(Acceptance {
            request_id: id,
            refused: Vec::new(),
        })
    }

    fn failure(_: StatusCode, body: &[u8]) -> Option<Failure> {
        let ErrorDocument { errors } = serde_json::from_slice(body).ok()?;
        let first = errors.first()?.code;
        Some(Failure::numbered(first, CODES_OF_ACCOUNT.contains(&first)))
    }
}

fn datacoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Gsm7 => "plain",
        Encoding::Ucs2 => "unicode",
    }
}
