//! Configuration, read once and whole from a closure over the environment.
//!
//! A missing or malformed key is a refusal that names it. There are no default tables and no fall-backs:
//! a function that starts with the wrong configuration would lose messages more quietly than one that
//! does not start.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use aws_config::SdkConfig;
use jiff::SignedDuration;
use serde::de::DeserializeOwned;

use crate::batch::Plan;
use crate::courier::Courier;
use crate::provider::{Connection, Protocol, Provider, Secrets};
use crate::record::batches::Batches;
use crate::record::messages::Messages;
use crate::record::numbers::Numbers;
use crate::record::providers::Providers;
use crate::webhook::Reporter;

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

    /// `PROVIDERS`, each checked: one or more, with names of their own.
    pub fn providers(&self) -> Result<Vec<Provider>, Refused> {
        let providers: Vec<Provider> = self.json("PROVIDERS")?;
        let mut names = BTreeSet::new();
        for provider in &providers {
            if let Some(problem) = provider.problem() {
                return Err(refused("PROVIDERS", format!("{}: {problem}", provider.name)));
            }
            if !names.insert(&provider.name) {
                return Err(refused("PROVIDERS", format!("{}: name is taken by another", provider.name)));
            }
        }
        if providers.is_empty() { Err(refused("PROVIDERS", "holds no provider")) } else { Ok(providers) }
    }

    /// `PROVIDER_SECRETS` of every provider.
    pub fn secrets(&self) -> Result<BTreeMap<String, Secrets>, Refused> {
        let secrets: BTreeMap<String, Secrets> = self.json("PROVIDER_SECRETS")?;
        match self.providers()?.iter().find(|provider| !secrets.contains_key(&provider.name)) {
            Some(provider) => Err(refused("PROVIDER_SECRETS", format!("holds nothing of {}", provider.name))),
            None => Ok(secrets),
        }
    }

    /// Those who may report, by name. One that was taken out of `PROVIDERS` may still report what it has sent, if
    /// it does so in the way that asks for no name.
    pub fn reporters(&self) -> Result<BTreeMap<String, Reporter>, Refused> {
        let providers = self.providers()?;
        let mut reporters = BTreeMap::new();
        for (name, Secrets { webhook_secrets, .. }) in self.secrets()? {
            let provider = providers.iter().find(|provider| provider.name == name);
            match (
                Reporter::parse(provider.map_or(Protocol::Fastsmsing, |found| found.protocol), &webhook_secrets),
                provider,
            ) {
                (Ok(reporter), _) => drop(reporters.insert(name, reporter)),
                (Err(problem), Some(_)) => return Err(refused("PROVIDER_SECRETS", format!("{name}: {problem}"))),
                (Err(_), None) => {}
            }
        }
        Ok(reporters)
    }

    /// What carries batches to the providers.
    pub fn courier(&self, aws: &SdkConfig) -> Result<Courier, Refused> {
        let (secrets, public_url) = (self.secrets()?, self.text("PUBLIC_URL")?);
        let connect = |provider: Provider| {
            let name = provider.name.clone();
            Connection::new(provider, &secrets[&name], &public_url)
                .map_err(|error| refused("PROVIDER_SECRETS", format!("{name}: {error}")))
        };
        Ok(Courier {
            connections: self.providers()?.into_iter().map(connect).collect::<Result<_, _>>()?,
            messages: Messages::new(aws, self.text("MESSAGES_TABLE")?),
            batches: Batches::new(aws, self.text("BATCHES_TABLE")?),
            providers: Providers::new(aws, self.text("PROVIDERS_TABLE")?),
            numbers: Numbers::new(aws, self.text("NUMBERS_TABLE")?),
            attempts_max: self.value::<i64>("ATTEMPTS_MAX")?.clamp(1, i64::from(u16::MAX)) as u32,
            plan: self.plan()?,
        })
    }

    /// The rule that makes batches: the largest batch size of `PROVIDERS`, and `BATCH_WINDOW_S`.
    pub fn plan(&self) -> Result<Plan, Refused> {
        let window_s = self.value::<u32>("BATCH_WINDOW_S")?;
        if window_s > WINDOW_MAX_S {
            return Err(refused("BATCH_WINDOW_S", format!("must be at most {WINDOW_MAX_S}")));
        }
        let size = self.providers()?.iter().map(|provider| provider.batch_size).max().unwrap_or(1);
        Ok(Plan { size, window: SignedDuration::from_secs(window_s.into()) })
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
        let source = Source::new(|key| (key == "PROVIDERS").then(|| format!("[{provider}]")));
        source.providers().unwrap_err().to_string()
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
        for price in ["-0.01", "\"cheap\"", "[1]", "0.0000001"] {
            let priced =
                format!(r#"{{"name":"f","url":"http://x","rate_per_s":1,"batch_size":1,"price_per_request":{price}}}"#);
            assert!(refusal(&priced).contains("price_per_request"), "{}", refusal(&priced));
        }
        let twice = r#"{"name":"f","url":"http://x","rate_per_s":1,"batch_size":1}"#;
        assert!(refusal(&format!("{twice},{twice}")).contains("f: name is taken"));
        assert!(refusal("").contains("holds no provider"));
    }

    #[test]
    fn a_protocol_s_limits_are_refused_by_name() {
        let with = |protocol: &str, rest: &str| {
            refusal(&format!(r#"{{"name":"p","protocol":"{protocol}","url":"http://x","rate_per_s":1,{rest}}}"#))
        };
        assert!(with("messagebird", r#""batch_size":51"#).contains("batch_size must be 1 to 50"));
        assert!(with("messagebird", r#""batch_size":50,"key_lifetime_s":3600"#).contains("key_lifetime_s must be 0"));
        assert!(with("callback", r#""batch_size":2"#).contains("batch_size must be 1"));
        assert!(with("callback", r#""batch_size":1,"key_lifetime_s":3600"#).contains("key_lifetime_s must be 0"));
        assert!(with("carrier-pigeon", r#""batch_size":1"#).contains("carrier-pigeon"));
        let slashed = r#"{"name":"p/q","protocol":"callback","url":"http://x","rate_per_s":1,"batch_size":1}"#;
        assert!(refusal(slashed).contains("name is part of an address"));
    }

    #[test]
    fn a_provider_s_secrets_are_read_as_its_protocol_has_them() {
        let reporters = |secrets: &str| {
            let providers = r#"[{"name":"b","protocol":"messagebird","url":"http://x","rate_per_s":1,"batch_size":1},
                {"name":"c","protocol":"callback","url":"http://x","rate_per_s":1,"batch_size":1}]"#;
            let source = Source::new(|key| match key {
                "PROVIDERS" => Some(providers.to_owned()),
                "PROVIDER_SECRETS" => Some(secrets.to_owned()),
                _ => None,
            });
            source.reporters().map(|reporters| reporters.into_keys().collect::<String>()).map_err(|e| e.to_string())
        };
        let bird = r#""b":{"token":"t","webhook_secrets":"sixteen-bytes-it"}"#;
        let caller = r#""c":{"webhook_secrets":"of twenty-four bytes or more"}"#;
        assert!(reporters(&format!("{{{bird},{caller}}}")).unwrap_err().contains("c: must hold 1 to 2 secrets"));
        let caller = caller.replace(' ', "_");
        assert_eq!(reporters(&format!("{{{bird},{caller}}}")).unwrap(), "bc");
        // A secret of a provider that is gone is no reason to stop.
        let gone = r#""gone":{"webhook_secrets":"any"}"#;
        assert_eq!(reporters(&format!("{{{bird},{caller},{gone}}}")).unwrap(), "bc");
        let short = r#""c":{"webhook_secrets":"short"}"#;
        assert!(reporters(&format!("{{{bird},{short}}}")).unwrap_err().contains("c: a secret must have 24 bytes"));
        let short = bird.replace("-it", "");
        assert!(
            reporters(&format!("{{{short},{caller}}}")).unwrap_err().contains("b: a signing key must have 16 bytes")
        );
    }
}
