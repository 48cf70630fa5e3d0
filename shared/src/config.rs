//! Configuration, read once and whole from a closure over the environment.
//!
//! A missing or malformed key is a refusal that names it. There are no default tables and no fall-backs:
//! a function that starts with the wrong configuration would lose messages more quietly than one that
//! does not start.

use std::str::FromStr;

use aws_config::SdkConfig;
use jiff::SignedDuration;
use serde::de::DeserializeOwned;

use crate::batch::Plan;
use crate::courier::Courier;
use crate::provider::Provider;
use crate::provider::fastsmsing::FastSmsing;
use crate::record::batches::Batches;
use crate::record::messages::Messages;
use crate::record::slots::Slots;

/// A key that is missing or can't be read.
#[derive(Debug, thiserror::Error)]
#[error("configuration {key}: {problem}")]
pub struct Refused {
    key: String,
    problem: String,
}

/// Where configuration is read from.
pub struct Source<F>(F);

impl Source<fn(&str) -> Option<String>> {
    /// The process's environment.
    pub fn environment() -> Self {
        Self(|key| std::env::var(key).ok())
    }
}

impl<F: Fn(&str) -> Option<String>> Source<F> {
    pub fn new(read: F) -> Self {
        Self(read)
    }

    /// The text under `key`.
    pub fn text(&self, key: &str) -> Result<String, Refused> {
        match (self.0)(key) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(refused(key, "is missing")),
        }
    }

    /// The value under `key`, e.g. a number or a day.
    pub fn value<T: FromStr<Err: std::fmt::Display>>(&self, key: &str) -> Result<T, Refused> {
        self.text(key)?.parse().map_err(|error| refused(key, error))
    }

    /// The JSON document under `key`.
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T, Refused> {
        serde_json::from_str(&self.text(key)?).map_err(|error| refused(key, error))
    }

    /// `PROVIDER`, checked.
    pub fn provider(&self) -> Result<Provider, Refused> {
        let provider: Provider = self.json("PROVIDER")?;
        match provider.problem() {
            Some(problem) => Err(refused("PROVIDER", problem)),
            None => Ok(provider),
        }
    }

    /// What carries batches to the provider.
    pub fn courier(&self, aws: &SdkConfig) -> Result<Courier, Refused> {
        let provider = self.provider()?;
        let token = self.text("PROVIDER_TOKEN")?;
        Ok(Courier {
            messages: Messages::new(aws, self.text("MESSAGES_TABLE")?),
            batches: Batches::new(aws, self.text("BATCHES_TABLE")?),
            slots: Slots::new(aws, self.text("PROVIDERS_TABLE")?),
            fastsmsing: FastSmsing::new(&provider, &token).map_err(|error| refused("PROVIDER_TOKEN", error))?,
            attempts_max: self.value::<i64>("ATTEMPTS_MAX")?.clamp(1, i64::from(u16::MAX)) as u32,
            plan: self.plan()?,
            provider,
        })
    }

    /// The rule that makes batches: `PROVIDER`'s batch size and `BATCH_WINDOW_S`.
    pub fn plan(&self) -> Result<Plan, Refused> {
        let window_s = self.value::<u32>("BATCH_WINDOW_S")?;
        if window_s > WINDOW_MAX_S {
            return Err(refused("BATCH_WINDOW_S", format!("must be at most {WINDOW_MAX_S}")));
        }
        Ok(Plan { size: self.provider()?.batch_size, window: SignedDuration::from_secs(window_s.into()) })
    }
}

/// The longest delay that SQS can give a bell.
pub const WINDOW_MAX_S: u32 = 900;
/// A refusal of what `key` holds.
pub fn refused(key: &str, problem: impl std::fmt::Display) -> Refused {
    Refused { key: key.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(provider: &str) -> String {
        let source = Source::new(|key| (key == "PROVIDER").then(|| provider.to_owned()));
        source.provider().unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_key_is_refused_by_name() {
        let source = Source::new(|key| (key == "BATCH_WINDOW_S").then(|| "soon".to_owned()));
        assert_eq!(source.text("QUEUE_URL").unwrap_err().to_string(), "configuration QUEUE_URL: is missing");
        let window = source.value::<u32>("BATCH_WINDOW_S").unwrap_err().to_string();
        assert_eq!(window, "configuration BATCH_WINDOW_S: invalid digit found in string");
        assert!(refusal(r#"{"name":"f","url":"http://x","rate_per_s":1,"batch_size":0}"#).contains("batch_size"));
        assert!(refusal(r#"{"name":"f","url":"http://x","rate_per_s":0,"batch_size":1}"#).contains("rate_per_s"));
        assert!(refusal(r#"{"name":"f","url":"http://x","rate_per_s":1,"batch_size":1,"speed":1}"#).contains("speed"));
    }
}
