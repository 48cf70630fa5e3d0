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
//! | 400, 413, 422 | `Refused`; `Misconfigured` where the error is about our account |
//! | 3xx and other 4xx | `Misconfigured` |
//! | other 5xx with the provider's error body | `NotSent` |
//! | time-out, reset, closed without an answer, 408, 409, 502, 504, anything unreadable | `Unknown` |
//!
//! Providers are configured as a JSON list of [`Provider`]s:
//!
//! ```json
//! [{"name": "fastsmsing", "protocol": "fastsmsing", "url": "https://…", "rate_per_s": 10, "batch_size": 100,
//!   "key_lifetime_s": 0, "timeout_ms": 10000, "weight": 1, "failures_max": 5, "open_s": 30,
//!   "price_per_request": "0.05"},
//!  {"name": "bird", "protocol": "messagebird", "url": "https://rest.messagebird.com", "rate_per_s": 1, "batch_size": 50},
//!  {"name": "texter", "protocol": "callback", "url": "https://…/send", "rate_per_s": 5, "batch_size": 1}]
//! ```
//!
//! and their [`Secrets`] as a JSON object by name: `{"fastsmsing": {"token": "…", "webhook_secrets": "whsec_…"}}`.
//!
//! | `protocol` | `batch_size` | `key_lifetime_s` | one request carries | `token` | a secret of `webhook_secrets` |
//! |---|---|---|---|---|---|
//! | [`fastsmsing`](fastsmsing) | 1 to 1,000 | 0 or more than 300 | any messages | bearer | `whsec_` and base64 of 24 bytes or more |
//! | [`messagebird`](messagebird) | 1 to 50 | 0 | one originator and text, different recipients | access key | the account's signing key, 16 bytes or more |
//! | [`callback`](callback) | 1 | 0 | one message | bearer, or none | any text of 24 bytes or more, without a blank |

pub mod callback;
pub mod fastsmsing;
pub mod messagebird;
mod wire;

use jiff::{SignedDuration, Timestamp};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::batch::Answer;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::money::Money;
use crate::pace::Pace;
use crate::shape::Shape;
use crate::standing::Terms;
use callback::Callback;
use fastsmsing::FastSmsing;
use messagebird::MessageBird;

/// Members of a batch item stay far below DynamoDB's 400 KB.
const BATCH_SIZE_MAX: usize = 1_000;
/// A request has to be answered and recorded well within one invocation.
const TIMEOUT_MAX_MS: u64 = 30_000;
/// A key counts as forgotten so long before its lifetime ends: the clocks of three parties are involved.
const KEY_MARGIN_S: u64 = 5 * 60;
const RATE_MAX_PER_S: f64 = 1_000.0;
/// Beside its time-out, what a probe may take: to be claimed, written down and recorded.
const PROBE_MORE_S: u32 = 5;
const WEIGHT_MAX: u32 = 1_000;
/// Whoever is away for longer is asked again all the same.
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

/// What is known only to a provider and to us.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// What we prove ourselves with; a provider of protocol `callback` may do without.
    #[serde(default)]
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
    /// Failures in a row that open its breaker.
    #[serde(default = "failures_default")]
    pub failures_max: u32,
    /// How long its breaker stays open before a batch probes it.
    #[serde(default = "open_default_s")]
    pub open_s: u32,
    /// What it bills for one request, as decimal text or number, in the currency of its invoices.
    #[serde(default, deserialize_with = "price")]
    pub price_per_request: Option<Money>,
}

/// The provider that is asked for, which may be one of another time, or all that are configured.
pub fn names<'a>(configured: &'a [Provider], asked: Option<&'a str>) -> Vec<&'a str> {
    asked.map_or_else(|| configured.iter().map(|provider| provider.name.as_str()).collect(), |name| vec![name])
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
    MessageBird(MessageBird),
    Callback(Callback),
}

/// The client of a provider can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the provider can't be used: {0}")]
pub struct Unusable(pub(crate) String);

impl Connection {
    /// `public_url` is our own API's, where those providers report that are told so with each request.
    ///
    /// Fails where a secret is missing or can't be used.
    pub fn new(provider: Provider, secrets: &Secrets, public_url: &str) -> Result<Self, Unusable> {
        let Secrets { token, webhook_secrets } = secrets;
        if token.is_empty() && provider.protocol != Protocol::Callback {
            return Err(Unusable("the token is missing".into()));
        }
        let reports = format!("{}/messages/delivery_status/{}", public_url.trim_end_matches('/'), provider.name);
        let adapter = match provider.protocol {
            Protocol::Fastsmsing => Adapter::FastSmsing(FastSmsing::new(&provider, token)?),
            Protocol::Messagebird => Adapter::MessageBird(MessageBird::new(&provider, token, reports)?),
            Protocol::Callback => Adapter::Callback(Callback::new(&provider, token, webhook_secrets, reports)?),
        };
        Ok(Self { provider, adapter })
    }

    /// Makes one request that carries `messages`, in their order, as batch `id`.
    ///
    /// The same batch always makes the same bytes, so that its key can be used again. Messages that do not fit into
    /// one request are refused here, as the provider would, before anything is sent.
    pub async fn send(&self, id: BatchId, messages: &[Message]) -> Sent {
        let shape = self.provider.shape();
        let fit = messages.iter().enumerate().all(|(n, message)| shape.fits(&messages[..n], message));
        let Some(first) = messages.first().filter(|_| fit) else {
            let error = Some("does not fit into one request".to_owned());
            return Sent::Refused { answer: Answer { http_status: None, error } };
        };
        match &self.adapter {
            Adapter::FastSmsing(fastsmsing) => fastsmsing.send(id, messages).await,
            Adapter::MessageBird(messagebird) => messagebird.send(id, first, messages).await,
            Adapter::Callback(callback) => callback.send(first).await,
        }
    }
}

impl Protocol {
    /// Which messages one request carries together.
    pub fn shape(self) -> Shape {
        match self {
            Protocol::Fastsmsing => Shape::Any,
            Protocol::Messagebird => Shape::SameText,
            Protocol::Callback => Shape::Single,
        }
    }

    fn batch_size_max(self) -> usize {
        match self {
            Protocol::Fastsmsing => BATCH_SIZE_MAX,
            Protocol::Messagebird => messagebird::RECIPIENTS_MAX,
            Protocol::Callback => 1,
        }
    }

    /// Its requests can carry a key that tells a repeat.
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
    Option::deserialize(price).map_err(|error| D::Error::custom(format!("price_per_request: {error}")))
}

impl Provider {
    /// Its pace, and when its breaker opens.
    pub fn terms(&self) -> Terms {
        let seconds = |s: u32| SignedDuration::from_secs(s.into());
        let timeout = SignedDuration::from_millis(i64::try_from(self.timeout_ms).unwrap_or(i64::MAX));
        Terms {
            pace: Pace::new(self.rate_per_s),
            failures_max: self.failures_max,
            open: seconds(self.open_s),
            probe: timeout.saturating_add(seconds(PROBE_MORE_S)),
        }
    }

    /// Which messages one request carries together.
    pub fn shape(&self) -> Shape {
        self.protocol.shape()
    }

    /// It tells a repeat of this batch by its key, and will until the request has been answered.
    pub fn remembers(&self, id: BatchId, now: Timestamp) -> bool {
        let sure_s = self.key_lifetime_s.saturating_sub(KEY_MARGIN_S);
        now.duration_since(id.created_at()) < SignedDuration::from_secs(i64::try_from(sure_s).unwrap_or(i64::MAX))
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        let batch_size_max = self.protocol.batch_size_max();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.contains('#') {
            Some("name must not be empty or hold a '#'".into())
        } else if self.protocol != Protocol::Fastsmsing && !self.name.chars().all(is_plain) {
            Some("name is part of an address: it must be of letters, digits, '-', '_' and '.'".into())
        } else if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            Some("url must begin with https:// or http://".into())
        } else if !(self.rate_per_s > 0.0 && self.rate_per_s <= RATE_MAX_PER_S) {
            Some(format!("rate_per_s must be above 0 and at most {RATE_MAX_PER_S}"))
        } else if !(1..=batch_size_max).contains(&self.batch_size) {
            Some(match batch_size_max {
                1 => "batch_size must be 1".into(),
                most => format!("batch_size must be 1 to {most}"),
            })
        } else if self.key_lifetime_s > 0 && !self.protocol.has_keys() {
            Some("key_lifetime_s must be 0: this protocol knows no key".into())
        } else if (1..=KEY_MARGIN_S).contains(&self.key_lifetime_s) {
            Some(format!("key_lifetime_s must be 0 or more than {KEY_MARGIN_S}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(protocol: &str, secrets: &str) -> String {
        let entry = r#"{"name":"p","protocol":"P","url":"http://x","rate_per_s":1,"batch_size":1}"#;
        let provider: Provider = serde_json::from_str(&entry.replace('P', protocol)).unwrap();
        assert_eq!(provider.problem(), None);
        let secrets = serde_json::from_str(secrets).unwrap();
        Connection::new(provider, &secrets, "http://us").err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_connection_without_the_secrets_of_its_protocol_is_refused() {
        let all = r#"{"token":"t","webhook_secrets":"more-than-twenty-four-bytes"}"#;
        for protocol in ["fastsmsing", "messagebird", "callback"] {
            assert_eq!(refusal(protocol, all), "", "{protocol}");
            assert!(refusal(protocol, &all.replace("\"t\"", r#""\n""#)).contains("no header can"), "{protocol}");
        }
        let no_token = r#"{"webhook_secrets":"more-than-twenty-four-bytes"}"#;
        assert!(refusal("fastsmsing", no_token).contains("token is missing"));
        assert!(refusal("messagebird", no_token).contains("token is missing"));
        assert_eq!(refusal("callback", no_token), "");
        assert!(refusal("callback", r#"{"webhook_secrets":"short"}"#).contains("webhook_secrets: a secret must have"));
    }
}
