//! FastSMSing, simulated: the provider's side of its HTTP contract.
//!
//! ```text
//! contract    what a request must look like       webhook     its updates, many at a time
//! keys        the same request again              signature   how they are signed
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

pub use crate::simulator::{Billed, Mishap, Options, Outcome, Seen, Status, UpdateOptions};
pub use signature::Secret;

use crate::simulator::{Answer, Batch, Call, Dialect, Ledger, Post, Simulator, Subject, Told, lock};
use contract::{IDEMPOTENT_REPLAYED, authorize, read_batch, refusal};
use keys::{Begun, Keys};
use webhook::Webhook;

/// A running FastSMSing.
pub type FastSmsing = Simulator<Batches>;

/// Its protocol.
pub struct Batches {
    token: String,
    batch_size_max: usize,
    keys: Mutex<Keys>,
    webhook: Webhook,
}

impl Simulator<Batches> {
    pub fn start(name: &str, options: Options) -> anyhow::Result<Self> {
        let dialect = Batches {
            token: format!("token-{}", Uuid::now_v7()),
            batch_size_max: options.batch_size_max,
            keys: Mutex::new(Keys::new(Duration::from_secs(options.key_lifetime_s))),
            webhook: Webhook::default(),
        };
        Self::run(name, options, dialect)
    }

    pub fn token(&self) -> &str {
        &self.dialect().token
    }

    /// Where updates go, and the `whsec_…` secret that signs them. Updates due before that are tried
    /// again as if it did not answer.
    pub fn point_at(&self, webhook_url: &str, secret: &str) -> anyhow::Result<()> {
        self.dialect().webhook.point_at(webhook_url, secret)
    }

    /// Reports by hand, in one post, whether or not the messages were ever sent.
    pub fn report<I: AsRef<str>>(&self, message_ids: &[I], status: Status) {
        let told: Told = message_ids.iter().map(|id| (id.as_ref().to_owned(), status)).collect();
        self.send(self.dialect().webhook.post(&told).into_iter().collect());
    }
}

impl Dialect for Batches {
    const TAKEN: StatusCode = StatusCode::ACCEPTED;
    const REFUSES_SINGLY: bool = true;

    fn carries(&self, head: &Parts) -> bool {
        head.method == Method::POST && head.uri.path() == "/batches"
    }

    fn admit(&self, call: &Call) -> Result<Batch, Answer> {
        authorize(&call.head, &self.token)?;
        let batch = read_batch(&call.head, &call.body, self.batch_size_max)?;
        let messages = batch.messages.into_iter();
        let messages = messages.map(|message| Subject { name: message.message_id, number: message.phone_number });
        let batch = Batch { batch_id: batch.batch_id, messages: messages.collect(), reports_to: String::new() };
        let Some(key) = &call.key else {
            return Ok(batch);
        };
        match lock(&self.keys).begin(key, &call.body, Instant::now()) {
            Begun::Fresh => Ok(batch),
            Begun::Again(first) => Err(first.with(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"))),
            Begun::Working => {
                Err(refusal(StatusCode::CONFLICT, "in_work", "a request with this key is being worked on"))
            }
            Begun::Other => Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "this key had another body")),
        }
    }

    fn billed(&self, call: &Call, _: &Batch, billed: &Billed) -> Answer {
        let refused: Vec<_> =
            billed.refused.iter().map(|id| json!({"message_id": id, "reason": "INVALID_RECIPIENT"})).collect();
        let answer = Answer::json(
            StatusCode::ACCEPTED,
            &json!({"request_id": billed.request_id, "accepted": billed.messages.len(), "refused": refused}),
        );
        if let Some(key) = &call.key {
            lock(&self.keys).answered(key, &answer);
        }
        answer
    }

    fn posts(&self, _: &Batch, _: &str, course: Vec<Told>) -> Vec<Post> {
        course.iter().filter_map(|told| self.webhook.post(told).ok()).collect()
    }

    fn refusal(status: StatusCode, code: &str, words: &str) -> Answer {
        refusal(status, code, words)
    }

    fn aside(&self, head: &Parts, ledger: &Ledger) -> Answer {
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/invoice") => self.invoice(head, ledger).unwrap_or_else(|refused| refused),
            _ => refusal(StatusCode::NOT_FOUND, "not_found", "no such address"),
        }
    }
}

impl Batches {
    fn invoice(&self, head: &Parts, ledger: &Ledger) -> Result<Answer, Answer> {
        authorize(head, &self.token)?;
        let (Some(from), Some(to)) = (instant(head, "from"), instant(head, "to")) else {
            return Err(refusal(StatusCode::BAD_REQUEST, "invalid", "from and to are RFC 3339 times"));
        };
        let lines = ledger.invoice(from, to);
        Ok(Answer::new(StatusCode::OK, lines).with(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")))
    }
}

/// A parameter of the query. `Url` undoes its encoding, and needs an origin to do so.
fn instant(head: &Parts, name: &str) -> Option<Timestamp> {
    let url = Url::parse("http://provider").ok()?.join(head.uri.path_and_query()?.as_str()).ok()?;
    let (_, value) = url.query_pairs().find(|(found, _)| found == name)?;
    value.parse().ok()
}

#[cfg(test)]
mod tests;
