//! Providers: what an answer to a batch means.
//!
//! The one question that matters is whether the provider could have acted on the request. A time-out is
//! not an error: it is "sent, not confirmed". Only an answer that proves the opposite allows another try.
//!
//! | observation | [`Sent`] |
//! |---|---|
//! | no connection | `NotSent` |
//! | 2xx with a readable body | `Confirmed`, refusals per message |
//! | 2xx, body cut or unreadable | `Unknown` |
//! | 429; 503 with Retry-After | `NotSent`, after the pause it asks for |
//! | 400, 413, 422 | `Refused` |
//! | 3xx and other 4xx | `Misconfigured` |
//! | other 5xx with the provider's error body | `NotSent` |
//! | time-out, reset, closed without an answer, 408, 409, 502, 504, anything unreadable | `Unknown` |
//!
//! Providers are configured as a JSON list of [`Provider`]s:
//!
//! ```json
//! [{"name": "fastsmsing", "protocol": "fastsmsing", "url": "https://…", "rate_per_s": 10, "batch_size": 100,
//!   "key_lifetime_s": 0, "timeout_ms": 10000, "weight": 1, "price_per_request": "0.05"}]
//! ```
//!
//! and their [`Secrets`] as a JSON object by name: `{"fastsmsing": {"token": "…", "webhook_secrets": "whsec_…"}}`.

pub mod fastsmsing;

use jiff::{SignedDuration, Timestamp};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::batch::Answer;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::money::Money;
use crate::pace::Pace;
use fastsmsing::FastSmsing;

/// Members of a batch item stay far below DynamoDB's 400 KB.
const BATCH_SIZE_MAX: usize = 1_000;
/// A request has to be answered and recorded well within one invocation.
const TIMEOUT_MAX_MS: u64 = 30_000;
/// A key counts as forgotten so long before its lifetime ends: the clocks of three parties are involved.
const KEY_MARGIN_S: u64 = 5 * 60;
const RATE_MAX_PER_S: f64 = 1_000.0;
const WEIGHT_MAX: u32 = 1_000;

/// How to speak to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Fastsmsing,
}

/// What is known only to a provider and to us.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// What we prove ourselves with.
    pub token: String,
    /// What its reports are proved with: one value, or two during a rotation, separated by a blank.
    pub webhook_secrets: String,
}

/// One provider's limits and abilities: an entry of the configuration key `PROVIDERS`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name in the record.
    pub name: String,
    #[serde(default)]
    pub protocol: Protocol,
    /// The address that its paths are appended to.
    pub url: String,
    /// Requests a second that it allows. Requests keep 1/rate and 100 ms apart, so that a stalled one never
    /// breaks the rate: a rate of 10 is used for 5, one of 1 for 0.9.
    pub rate_per_s: f64,
    /// Messages that one request may carry.
    pub batch_size: usize,
    /// How long it honours an Idempotency-Key, more than 5 minutes; 0 when it does not.
    #[serde(default)]
    pub key_lifetime_s: u64,
    /// Until an answer must be there.
    #[serde(default = "timeout_default_ms")]
    pub timeout_ms: u64,
    /// Its share of the batches, in proportion to the others'.
    #[serde(default = "weight_default")]
    pub weight: u32,
    /// What it bills for one request, as decimal text or number, in the currency of its invoices.
    #[serde(default, deserialize_with = "price")]
    pub price_per_request: Option<Money>,
}

/// A provider, and how it is reached.
#[derive(Clone)]
pub struct Connection {
    pub provider: Provider,
    adapter: Adapter,
}

/// One client per protocol; all tell what happened in the same words.
#[derive(Clone)]
enum Adapter {
    FastSmsing(FastSmsing),
}

/// The client of a provider can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the provider can't be used: {0}")]
pub struct Unusable(pub(crate) String);

impl Connection {
    /// Fails where the token can't stand in a header.
    pub fn new(provider: Provider, secrets: &Secrets) -> Result<Self, Unusable> {
        let adapter = match provider.protocol {
            Protocol::Fastsmsing => Adapter::FastSmsing(FastSmsing::new(&provider, &secrets.token)?),
        };
        Ok(Self { provider, adapter })
    }

    /// Makes one request that carries `messages`, in their order, as batch `id`.
    ///
    /// The same batch always makes the same bytes, so that its key can be used again.
    pub async fn send(&self, id: BatchId, messages: &[Message]) -> Sent {
        match &self.adapter {
            Adapter::FastSmsing(fastsmsing) => fastsmsing.send(id, messages).await,
        }
    }
}

fn weight_default() -> u32 {
    1
}

fn timeout_default_ms() -> u64 {
    10_000
}

fn price<'de, D: Deserializer<'de>>(price: D) -> Result<Option<Money>, D::Error> {
    Option::deserialize(price).map_err(|error| D::Error::custom(format!("price_per_request: {error}")))
}

impl Provider {
    pub fn pace(&self) -> Pace {
        Pace::new(self.rate_per_s)
    }

    /// It tells a repeat of this batch by its key, and will until the request has been answered.
    pub fn remembers(&self, id: BatchId, now: Timestamp) -> bool {
        let sure_s = self.key_lifetime_s.saturating_sub(KEY_MARGIN_S);
        now.duration_since(id.created_at()) < SignedDuration::from_secs(i64::try_from(sure_s).unwrap_or(i64::MAX))
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        if self.name.is_empty() || self.name.contains('#') {
            Some("name must not be empty or hold a '#'".into())
        } else if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            Some("url must begin with https:// or http://".into())
        } else if !(self.rate_per_s > 0.0 && self.rate_per_s <= RATE_MAX_PER_S) {
            Some(format!("rate_per_s must be above 0 and at most {RATE_MAX_PER_S}"))
        } else if !(1..=BATCH_SIZE_MAX).contains(&self.batch_size) {
            Some(format!("batch_size must be 1 to {BATCH_SIZE_MAX}"))
        } else if (1..=KEY_MARGIN_S).contains(&self.key_lifetime_s) {
            Some(format!("key_lifetime_s must be 0 or more than {KEY_MARGIN_S}"))
        } else if !(1..=TIMEOUT_MAX_MS).contains(&self.timeout_ms) {
            Some(format!("timeout_ms must be 1 to {TIMEOUT_MAX_MS}"))
        } else if !(1..=WEIGHT_MAX).contains(&self.weight) {
            Some(format!("weight must be 1 to {WEIGHT_MAX}"))
        } else if self.price_per_request.is_some_and(Money::is_negative) {
            Some("price_per_request must not be negative".into())
        } else {
            None
        }
    }
}

/// What one request to a provider came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The provider took the batch, but for the `refused` messages.
    Confirmed { request_id: String, refused: Vec<MessageId>, answer: Answer },
    /// Nothing was taken, and the same batch may be taken later: after the pause, if it asks for one.
    NotSent { pause: Option<SignedDuration>, answer: Answer },
    /// Nothing was taken, and the same batch never will be.
    Refused { answer: Answer },
    /// Nothing was taken: the address or the token is wrong, not the messages.
    Misconfigured { answer: Answer },
    /// The provider may have taken the batch.
    Unknown { answer: Answer },
}

impl Sent {
    /// The provider's answer, as the record keeps it.
    pub fn answer(&self) -> &Answer {
        match self {
            Sent::Confirmed { answer, .. }
            | Sent::NotSent { answer, .. }
            | Sent::Refused { answer }
            | Sent::Misconfigured { answer }
            | Sent::Unknown { answer } => answer,
        }
    }
}
