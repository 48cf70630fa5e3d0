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
//! A [`Provider`] is configured as a JSON document:
//! `{"name": "fastsmsing", "url": "https://…", "rate_per_s": 10, "batch_size": 100, "key_lifetime_s": 0, "timeout_ms": 10000}`.

pub mod fastsmsing;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::batch::Answer;
use crate::id::MessageId;
use crate::pace::Pace;

/// Members of a batch item stay far below DynamoDB's 400 KB.
const BATCH_SIZE_MAX: usize = 1_000;
/// A request has to be answered and recorded well within one invocation.
const TIMEOUT_MAX_MS: u64 = 30_000;
/// A key counts as forgotten so long before its lifetime ends: the clocks of three parties are involved.
pub const KEY_MARGIN_S: u64 = 5 * 60;
const RATE_MAX_PER_S: f64 = 1_000.0;

/// One provider's limits and abilities: the document under the configuration key `PROVIDER`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name in the record.
    pub name: String,
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
}

fn timeout_default_ms() -> u64 {
    10_000
}

impl Provider {
    pub fn pace(&self) -> Pace {
        Pace::new(self.rate_per_s)
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
