//! A provider as it is configured: its limits, and what its protocol is able to do.
//!
//! The configuration key `PROVIDERS` is a JSON list of [`Provider`]s:
//!
//! ```json
//! [{"name": "fastsmsing", "protocol": "fastsmsing", "url": "https://…", "rate_per_s": 10, "batch_size": 100,
//!   "key_lifetime_s": 0, "timeout_ms": 10000, "weight": 1, "failures_max": 5, "open_s": 30,
//!   "price_per_request": "0.05"},
//!  {"name": "bird", "protocol": "messagebird", "url": "https://rest.messagebird.com", "rate_per_s": 1, "batch_size": 50},
//!  {"name": "texter", "protocol": "callback", "url": "https://…/send", "rate_per_s": 5, "batch_size": 1}]
//! ```
//!
//! and `PROVIDER_SECRETS` is a JSON object of their [`Secrets`] by name:
//! `{"fastsmsing": {"token": "…", "webhook_secrets": "whsec_…"}}`.
//!
//! | `protocol` | `batch_size` | `key_lifetime_s` | one request carries | `token` | a secret in `webhook_secrets` |
//! |---|---|---|---|---|---|
//! | `fastsmsing` | 1 to 1,000 | 0 or more than 300 | any messages | bearer | `whsec_` and base64 of 24 bytes or more |
//! | `messagebird` | 1 to 50 | 0 | one originator and text, different recipients | access key | the account's signing key, 16 bytes or more |
//! | `callback` | 1 | 0 | one message | bearer, or none | any text of 24 bytes or more without a space |
//!
//! What each protocol sends and expects is in the crate `provider`, one file per protocol.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::grouping::Grouping;
use crate::id::BatchId;
use crate::money::Money;
use crate::provider_state::Limits;
use crate::rate_limit::RateLimit;

/// Messages of one FastSMSing request: the members of a batch item stay far below DynamoDB's 400
/// KB.
const FASTSMSING_BATCH_SIZE_MAX: usize = 1_000;
/// Recipients of one MessageBird request, by its public SMS API.
const MESSAGEBIRD_BATCH_SIZE_MAX: usize = 50;
/// A request has to be answered and recorded well within one invocation.
const TIMEOUT_MAX_MS: u64 = 30_000;
/// A key counts as forgotten this long before its lifetime ends, because the clocks of three
/// parties are involved.
const KEY_MARGIN_S: u64 = 5 * 60;
const RATE_MAX_PER_S: f64 = 1_000.0;
/// What a probe takes beside the request itself: the claim, the intent and the outcome.
const PROBE_MORE_S: u32 = 5;
const WEIGHT_MAX: u32 = 1_000;
/// A provider is asked at least this often whether it is back.
const OPEN_MAX_S: u32 = 3_600;

/// How to speak to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Fastsmsing,
    Messagebird,
    Callback,
}

/// What only a provider and we know.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Authenticates our requests; a provider of protocol `callback` may do without.
    #[serde(default)]
    pub token: String,
    /// Authenticates the provider's reports: one value, or two with a space between them during a
    /// rotation.
    pub webhook_secrets: String,
}

/// The secrets of every provider, by name.
pub type SecretsByName = BTreeMap<String, Secrets>;

/// One entry of `PROVIDERS`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The name by which the record knows it.
    pub name: String,
    #[serde(default)]
    pub protocol: Protocol,
    /// The base address, to which the protocol appends its paths.
    pub url: String,
    /// Requests a second that it allows. Requests are kept 1/rate seconds plus 100 ms apart, so
    /// that a stalled one never breaks the rate: a rate of 10 is used for 5, one of 1 for 0.9.
    pub rate_per_s: f64,
    /// Messages that one request may carry.
    pub batch_size: usize,
    /// How long it honours an Idempotency-Key, more than 5 minutes; 0 when it does not.
    #[serde(default)]
    pub key_lifetime_s: u64,
    /// How long to wait for an answer.
    #[serde(default = "timeout_default_ms")]
    pub timeout_ms: u64,
    /// Its share of the batches, in proportion to the weights of the others.
    #[serde(default = "weight_default")]
    pub weight: u32,
    /// Failures in a row that open its breaker.
    #[serde(default = "failures_default")]
    pub failures_max: u32,
    /// How long its breaker stays open before a batch probes it.
    #[serde(default = "open_default_s")]
    pub open_s: u32,
    /// The price of one request, as decimal text or number, in the currency of its invoices.
    #[serde(default, deserialize_with = "price")]
    pub price_per_request: Option<Money>,
}

impl Protocol {
    /// Which messages one request carries together.
    pub fn grouping(self) -> Grouping {
        match self {
            Protocol::Fastsmsing => Grouping::Any,
            Protocol::Messagebird => Grouping::SameText,
            Protocol::Callback => Grouping::Single,
        }
    }

    fn batch_size_max(self) -> usize {
        match self {
            Protocol::Fastsmsing => FASTSMSING_BATCH_SIZE_MAX,
            Protocol::Messagebird => MESSAGEBIRD_BATCH_SIZE_MAX,
            Protocol::Callback => 1,
        }
    }

    /// Its requests can carry an idempotency key.
    fn has_keys(self) -> bool {
        self == Protocol::Fastsmsing
    }
}

fn weight_default() -> u32 {
    1
}

fn failures_default() -> u32 {
    5
}

fn open_default_s() -> u32 {
    30
}

fn timeout_default_ms() -> u64 {
    10_000
}

fn price<'de, D: Deserializer<'de>>(price: D) -> Result<Option<Money>, D::Error> {
    Option::deserialize(price)
        .map_err(|error| D::Error::custom(format!("price_per_request: {error}")))
}

impl Provider {
    /// Its rate, and when its breaker opens.
    pub fn limits(&self) -> Limits {
        let seconds = |s: u32| SignedDuration::from_secs(s.into());
        let timeout =
            SignedDuration::from_millis(i64::try_from(self.timeout_ms).unwrap_or(i64::MAX));
        Limits {
            rate: RateLimit::new(self.rate_per_s),
            failures_max: self.failures_max,
            open: seconds(self.open_s),
            probe: timeout.saturating_add(seconds(PROBE_MORE_S)),
        }
    }

    /// Which messages one request carries together.
    pub fn grouping(&self) -> Grouping {
        self.protocol.grouping()
    }

    /// It recognises a repeat of this batch by its key, and will until the repeat has been
    /// answered.
    pub fn remembers(&self, id: BatchId, now: Timestamp) -> bool {
        let sure_s = self.key_lifetime_s.saturating_sub(KEY_MARGIN_S);
        let sure = SignedDuration::from_secs(i64::try_from(sure_s).unwrap_or(i64::MAX));
        now.duration_since(id.created_at()) < sure
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        let batch_size_max = self.protocol.batch_size_max();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.contains('#') {
            Some("name must not be empty or hold a '#'".into())
        } else if self.protocol != Protocol::Fastsmsing && !self.name.chars().all(is_plain) {
            Some(
                "name is part of an address: it must be of letters, digits, '-', '_' and '.'"
                    .into(),
            )
        } else if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            Some("url must begin with https:// or http://".into())
        } else if !(self.rate_per_s > 0.0 && self.rate_per_s <= RATE_MAX_PER_S) {
            Some(format!(
                "rate_per_s must be above 0 and at most {RATE_MAX_PER_S}"
            ))
        } else if !(1..=batch_size_max).contains(&self.batch_size) {
            Some(match batch_size_max {
                1 => "batch_size must be 1".into(),
                most => format!("batch_size must be 1 to {most}"),
            })
        } else if self.key_lifetime_s > 0 && !self.protocol.has_keys() {
            Some("key_lifetime_s must be 0: this protocol has no key".into())
        } else if (1..=KEY_MARGIN_S).contains(&self.key_lifetime_s) {
            Some(format!(
                "key_lifetime_s must be 0 or more than {KEY_MARGIN_S}"
            ))
        } else if !(1..=TIMEOUT_MAX_MS).contains(&self.timeout_ms) {
            Some(format!("timeout_ms must be 1 to {TIMEOUT_MAX_MS}"))
        } else if !(1..=WEIGHT_MAX).contains(&self.weight) {
            Some(format!("weight must be 1 to {WEIGHT_MAX}"))
        } else if self.failures_max == 0 {
            Some("failures_max must be above 0".into())
        } else if !(1..=OPEN_MAX_S).contains(&self.open_s) {
            Some(format!("open_s must be 1 to {OPEN_MAX_S}"))
        } else if self.price_per_request.is_some_and(Money::is_negative) {
            Some("price_per_request must not be negative".into())
        } else {
            None
        }
    }
}
