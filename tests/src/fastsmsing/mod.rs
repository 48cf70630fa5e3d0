//! The simulated FastSMSing: the provider's side of its HTTP contract.
//!
//! ```text
//! contract    what a request must look like       webhook     its updates, many in one post
//! keys        idempotency keys                    signature   how the posts are signed
//! ```

mod contract;
mod keys;
mod signature;
mod webhook;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::json;
use uuid::Uuid;

pub use crate::simulator::{Billed, Mishap, Options, Outcome, SeenRequest, Status, UpdateOptions};
pub use signature::Secret;

use crate::simulator::{
    Answer, Batch, BatchMessage, Ledger, Post, Protocol, ProviderRequest, Simulator, Statuses, lock,
};
use contract::{IDEMPOTENT_REPLAYED, authorize, read_batch, refusal};
use keys::{KeyUse, Keys};
use webhook::Webhook;

/// A running FastSMSing.
pub type FastSmsing = Simulator<FastSmsingProtocol>;

/// FastSMSing's protocol.
pub struct FastSmsingProtocol {
    token: String,
    batch_size_max: usize,
    keys: Mutex<Keys>,
    webhook: Webhook,
}

impl Simulator<FastSmsingProtocol> {
    pub fn start(name: &str, options: Options) -> anyhow::Result<Self> {
        let protocol = FastSmsingProtocol {
            token: format!("token-{}", Uuid::now_v7()),
            batch_size_max: options.batch_size_max,
            keys: Mutex::new(Keys::new(Duration::from_secs(options.key_lifetime_s))),
            webhook: Webhook::default(),
        };
        Self::run(name, options, protocol)
    }

    pub fn token(&self) -> &str {
        &self.protocol().token
    }

    /// Sets the address for updates, and the `whsec_…` secret with which they are signed. Until
    /// then, updates are tried again as if the webhook did not answer.
    pub fn point_at(&self, webhook_url: &str, secret: &str) -> anyhow::Result<()> {
        self.protocol().webhook.point_at(webhook_url, secret)
    }

    /// Reports a status of these messages in one post, whether or not they were ever sent.
    pub fn report<I: AsRef<str>>(&self, message_ids: &[I], status: Status) {
        let statuses: Statuses = message_ids
            .iter()
            .map(|id| (id.as_ref().to_owned(), status))
            .collect();
        self.send(
            self.protocol()
                .webhook
                .post(&statuses)
                .into_iter()
                .collect(),
        );
    }
}

impl Protocol for FastSmsingProtocol {
    const ACCEPTED_STATUS: StatusCode = StatusCode::ACCEPTED;
    const REFUSES_SINGLE_MESSAGES: bool = true;

    fn carries_messages(&self, head: &Parts) -> bool {
        head.method == Method::POST && head.uri.path() == "/batches"
    }

    fn admit(&self, request: &ProviderRequest) -> Result<Batch, Answer> {
        authorize(&request.head, &self.token)?;
        let batch = read_batch(&request.head, &request.body, self.batch_size_max)?;
        let messages = batch.messages.into_iter();
        let messages = messages.map(|message| BatchMessage {
            name: message.message_id,
            number: message.phone_number,
        });
        let batch = Batch {
            batch_id: batch.batch_id,
            messages: messages.collect(),
            reports_to: String::new(),
        };
        let Some(key) = &request.key else {
            return Ok(batch);
        };
        match lock(&self.keys).begin(key, &request.body, Instant::now()) {
            KeyUse::First => Ok(batch),
            KeyUse::Repeated(first) => {
                Err(first.with(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true")))
            }
            KeyUse::InProgress => Err(refusal(
                StatusCode::CONFLICT,
                "in_work",
                "a request with this key is being worked on",
            )),
            KeyUse::OtherBody => Err(refusal(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                "this key had another body",
            )),
        }
    }

    fn accepted(&self, request: &ProviderRequest, _: &Batch, billed: &Billed) -> Answer {
        let refused: Vec<_> = billed
            .refused
            .iter()
            .map(|id| json!({"message_id": id, "reason": "INVALID_RECIPIENT"}))
            .collect();
        let answer = Answer::json(
            StatusCode::ACCEPTED,
            &json!({
                "request_id": billed.request_id,
                "accepted": billed.messages.len(),
                "refused": refused,
            }),
        );
        if let Some(key) = &request.key {
            lock(&self.keys).answered(key, &answer);
        }
        answer
    }

    fn posts(&self, _: &Batch, _: &str, updates: Vec<Statuses>) -> Vec<Post> {
        updates
            .iter()
            .filter_map(|statuses| self.webhook.post(statuses).ok())
            .collect()
    }

    fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
        refusal(status, code, message)
    }

    fn answer_other(&self, head: &Parts, ledger: &Ledger) -> Answer {
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/invoice") => {
                self.invoice(head, ledger).unwrap_or_else(|refused| refused)
            }
            _ => refusal(StatusCode::NOT_FOUND, "not_found", "no such address"),
        }
    }
}

impl FastSmsingProtocol {
    fn invoice(&self, head: &Parts, ledger: &Ledger) -> Result<Answer, Answer> {
        authorize(head, &self.token)?;
        let (Some(from), Some(to)) = (instant(head, "from"), instant(head, "to")) else {
            return Err(refusal(
                StatusCode::BAD_REQUEST,
                "invalid",
                "from and to are RFC 3339 times",
            ));
        };
        let lines = ledger.invoice(from, to);
        Ok(Answer::new(StatusCode::OK, lines).with(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-ndjson"),
        ))
    }
}

/// A time in the query. `Url` undoes the encoding, and needs an origin for that.
fn instant(head: &Parts, name: &str) -> Option<Timestamp> {
    let url = Url::parse("http://provider")
        .ok()?
        .join(head.uri.path_and_query()?.as_str())
        .ok()?;
    let (_, value) = url.query_pairs().find(|(found, _)| found == name)?;
    value.parse().ok()
}

#[cfg(test)]
mod tests;
