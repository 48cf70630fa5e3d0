//! MessageBird's wire, as seed 2 uses it: one POST carries one text to up to 50 recipients.
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
//!  "reference": "<our batch id>", "reportUrl": "<our address>/messages/delivery_status/<its name here>"}
//! ```
//!
//! A recipient is an MSISDN: E.164 without its plus. `datacoding` is `unicode` for what GSM-7 can't write. There is
//! no key that would tell a repeat, so a request without an answer is never made again.
//!
//! | answer | meaning |
//! |---|---|
//! | 201 `{"id": "…", "recipients": {"totalSentCount": n, "items": [{"recipient": 31633450007, "status": "sent", "messagePartCount": 1}, …]}}` | taken and billed |
//! | 4xx `{"errors": [{"code": 9, "description": "…", "parameter": "…"}]}` | nothing was taken; codes 2 and 25 are about our account |
//! | 429 | too fast; nothing was taken |
//! | 500 with such a document | an error answer: nothing was taken |
//!
//! What became of a recipient comes later, one call each, to the `reportUrl`:
//!
//! ```text
//! GET …?id=<its id>&reference=<our batch id>&recipient=31633450007&status=delivered&statusDatetime=…
//! MessageBird-Signature-JWT: <HS256 under the account's signing key: iss, nbf, exp, jti, url_hash>
//! ```
//!
//! `status` is one of `scheduled`, `sent`, `buffered`, `delivered`, `expired`, `delivery_failed`; of a failure,
//! `statusErrorCode` 1 says that there is no such subscriber. Source: MessageBird's public SMS API.

use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use serde::{Deserialize, Serialize};

use super::wire::{self, Contract, Failure, Taken, Wire};
use super::{Provider, Sent, Unusable};
use crate::id::BatchId;
use crate::message::Message;
use crate::segment::Encoding;

/// Recipients of one request.
pub const RECIPIENTS_MAX: usize = 50;

/// The access key is wrong, or the balance is used up: true of every message, so none is to blame.
const CODES_OF_ACCOUNT: [u16; 2] = [2, 25];

/// The client of MessageBird.
#[derive(Clone)]
pub(super) struct MessageBird {
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

/// Of what became of the recipients, their reports will tell.
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
    pub(super) fn new(provider: &Provider, token: &str, report_url: String) -> Result<Self, Unusable> {
        Ok(Self { wire: Wire::new(provider, "/messages", Some(format!("AccessKey {token}")))?, report_url })
    }

    /// All messages have the originator and the text of the `first`.
    pub(super) async fn send(&self, id: BatchId, first: &Message, messages: &[Message]) -> Sent {
        let body = Request {
            originator: first.originator.as_str(),
            body: first.body.as_str(),
            recipients: messages.iter().map(|message| message.recipient.digits()).collect(),
            datacoding: datacoding(first.encoding),
            reference: id,
            report_url: &self.report_url,
        };
        wire::ask::<Self>(self.wire.post().header(ACCEPT, "application/json").json(&body)).await
    }
}

impl Contract for MessageBird {
    fn taken(body: &[u8]) -> Option<Taken> {
        let Created { id } = serde_json::from_slice(body).ok()?;
        Some(Taken { request_id: id, refused: Vec::new() })
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
