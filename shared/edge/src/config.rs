//! Configuration, read once and whole from a closure over the environment.
//!
//! A missing or malformed key is an error that names the key, and the function does not start.
//! There are no defaults and no fall-backs: a function that starts with a wrong configuration can
//! lose messages, while one that does not start only delays them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use domain::batch_policy::BatchPolicy;
use domain::provider::{Protocol, Provider, SecretsByName};
use domain::provider_list::ProviderList;
use jiff::SignedDuration;
use provider::ProviderClient;
use serde::de::DeserializeOwned;

use crate::webhook::WebhookVerifier;

/// The longest batch window, in seconds: the longest delay of an SQS message.
pub const WINDOW_MAX_S: u32 = 900;

/// A key that is missing or cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("configuration {key}: {problem}")]
pub struct ConfigError {
    key: String,
    problem: String,
}

impl ConfigError {
    /// An error about the value of `key`. The problem must not quote a secret.
    pub fn new(key: &str, problem: impl Display) -> Self {
        Self {
            key: key.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// A source of configuration: a closure that returns the text under a key.
pub struct Config<F>(F);

/// The process's environment.
pub type Environment = fn(&str) -> Option<String>;

impl Config<Environment> {
    /// Reads from the process's environment.
    pub fn environment() -> Self {
        Self(|key| std::env::var(key).ok())
    }
}

impl<F: Fn(&str) -> Option<String>> Config<F> {
    /// Reads with this closure, which lets a test supply its own configuration.
    pub fn new(read: F) -> Self {
        Self(read)
    }

    /// Reads the text under `key`, which must not be empty.
    pub fn text(&self, key: &str) -> Result<String, ConfigError> {
        match (self.0)(key) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(ConfigError::new(key, "is missing")),
        }
    }

    /// Reads the value under `key`, e.g. a number or a day.
    pub fn value<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, ConfigError> {
        self.text(key)?
            .parse()
            .map_err(|error| ConfigError::new(key, error))
    }

    /// Reads the JSON document under `key`.
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T, ConfigError> {
        serde_json::from_str(&self.text(key)?).map_err(|error| ConfigError::new(key, error))
    }

    /// Reads `PROVIDERS`, and checks each provider.
    pub fn providers(&self) -> Result<ProviderList, ConfigError> {
        let providers: Vec<Provider> = self.json("PROVIDERS")?;
        ProviderList::new(providers).map_err(|problem| ConfigError::new("PROVIDERS", problem))
    }

    /// Reads `PROVIDER_SECRETS`, which must have an entry for every provider.
    pub fn secrets(&self, providers: &ProviderList) -> Result<SecretsByName, ConfigError> {
        // serde's own message may quote a secret, so only the place of the error is named.
        let secrets: SecretsByName = serde_json::from_str(&self.text("PROVIDER_SECRETS")?)
            .map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let expected = "must be a JSON object of secrets by provider";
                let place = format!("{expected}: see line {line}, column {column}");
                ConfigError::new("PROVIDER_SECRETS", place)
            })?;
        match providers
            .iter()
            .find(|provider| !secrets.contains_key(&provider.name))
        {
            Some(provider) => Err(secret_error(&provider.name, "has no secrets")),
            None => Ok(secrets),
        }
    }

    /// Makes the clients of all providers. Some protocols pass `PUBLIC_URL` on with each
    /// request, as the address to report to.
    pub fn provider_clients(
        &self,
        providers: &ProviderList,
    ) -> Result<Vec<ProviderClient>, ConfigError> {
        let (secrets, public_url) = (self.secrets(providers)?, self.text("PUBLIC_URL")?);
        let client = |provider: &Provider| {
            ProviderClient::new(provider.clone(), &secrets[&provider.name], &public_url)
                .map_err(|error| secret_error(&provider.name, error))
        };
        providers.iter().map(client).collect()
    }

    /// Makes the verifiers of the providers' reports, by provider's name. A provider that was
    /// removed from `PROVIDERS`, but not from the secrets, can still report on the messages that it
    /// was sent, if it signs by Standard Webhooks.
    pub fn webhook_verifiers(
        &self,
        providers: &ProviderList,
    ) -> Result<BTreeMap<String, WebhookVerifier>, ConfigError> {
        let mut verifiers = BTreeMap::new();
        for (name, secrets) in self.secrets(providers)? {
            let provider = providers.find(&name);
            let protocol = provider.map_or(Protocol::Fastsmsing, |found| found.protocol);
            match WebhookVerifier::parse(protocol, &secrets.webhook_secrets) {
                Ok(verifier) => {
                    verifiers.insert(name, verifier);
                }
                Err(problem) if provider.is_some() => return Err(secret_error(&name, problem)),
                // A malformed secret of a removed provider is no reason not to start.
                Err(_) => {}
            }
        }
        Ok(verifiers)
    }

    /// Reads the rule that makes batches: the largest batch size of all
    /// providers, and `BATCH_WINDOW_S`.
    pub fn batch_policy(&self, providers: &ProviderList) -> Result<BatchPolicy, ConfigError> {
        let window_s = self.value::<u32>("BATCH_WINDOW_S")?;
        if window_s > WINDOW_MAX_S {
            return Err(ConfigError::new(
                "BATCH_WINDOW_S",
                format!("must be at most {WINDOW_MAX_S}"),
            ));
        }
        let window = SignedDuration::from_secs(window_s.into());
        Ok(BatchPolicy {
            size: providers.batch_size_max(),
            window,
        })
    }

    /// Reads how often one batch is tried while the provider provably accepts nothing.
    /// Below 1 means 1, as in seed 1.
    pub fn attempts_max(&self) -> Result<u32, ConfigError> {
        Ok(self
            .value::<i64>("ATTEMPTS_MAX")?
            .clamp(1, i64::from(u16::MAX)) as u32)
    }
}

fn secret_error(provider: &str, problem: impl Display) -> ConfigError {
    ConfigError::new("PROVIDER_SECRETS", format!("{provider}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error for this list of providers.
    fn refusal(provider: &str) -> String {
        let config = Config::new(|key| (key == "PROVIDERS").then(|| format!("[{provider}]")));
        config.providers().unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_key_is_refused_by_name() {
        let config = Config::new(|key| (key == "BATCH_WINDOW_S").then(|| "soon".to_owned()));
        assert_eq!(
            config.text("QUEUE_URL").unwrap_err().to_string(),
            "configuration QUEUE_URL: is missing"
        );
        let window = config
            .value::<u32>("BATCH_WINDOW_S")
            .unwrap_err()
            .to_string();
        assert_eq!(
            window,
            "configuration BATCH_WINDOW_S: invalid digit found in string"
        );
        assert!(
            refusal(r#"{"name":"f","url":"http://x","rate_per_s":1,"batch_size":0}"#)
                .contains("batch_size")
        );
        assert!(
            refusal(r#"{"name":"f","url":"http://x","rate_per_s":0,"batch_size":1}"#)
                .contains("rate_per_s")
        );
        assert!(
            refusal(r#"{"name":"f","url":"http://x","rate_per_s":1,"batch_size":1,"speed":1}"#)
                .contains("speed")
        );
        for price in ["-0.01", "\"cheap\"", "[1]", "0.0000001"] {
            let priced = format!(
                r#"{{"name":"f","url":"http://x","rate_per_s":1,"batch_size":1,"price_per_request":{price}}}"#
            );
            assert!(
                refusal(&priced).contains("price_per_request"),
                "{}",
                refusal(&priced)
            );
        }
        let twice = r#"{"name":"f","url":"http://x","rate_per_s":1,"batch_size":1}"#;
        assert!(refusal(&format!("{twice},{twice}")).contains("f: name is taken"));
        assert!(refusal("").contains("holds no provider"));
    }

    #[test]
    fn a_protocol_s_limits_are_refused_by_name() {
        let with = |protocol: &str, rest: &str| {
            refusal(&format!(
                r#"{{"name":"p","protocol":"{protocol}","url":"http://x","rate_per_s":1,{rest}}}"#
            ))
        };
        assert!(with("messagebird", r#""batch_size":51"#).contains("batch_size must be 1 to 50"));
        assert!(
            with("messagebird", r#""batch_size":50,"key_lifetime_s":3600"#)
                .contains("key_lifetime_s must be 0")
        );
        assert!(with("callback", r#""batch_size":2"#).contains("batch_size must be 1"));
        assert!(
            with("callback", r#""batch_size":1,"key_lifetime_s":3600"#)
                .contains("key_lifetime_s must be 0")
        );
        assert!(with("carrier-pigeon", r#""batch_size":1"#).contains("carrier-pigeon"));
        let slashed = r#"{"name":"p/q","protocol":"callback","url":"http://x","rate_per_s":1,"batch_size":1}"#;
        assert!(refusal(slashed).contains("name is part of an address"));
    }

    #[test]
    fn a_malformed_secret_is_refused_by_its_place_and_never_quoted() {
        let config = Config::new(|key| match key {
            "PROVIDERS" => {
                Some(r#"[{"name":"f","url":"http://x","rate_per_s":1,"batch_size":1}]"#.to_owned())
            }
            _ => Some(r#"{"f": "sk_live_x"}"#.to_owned()),
        });
        let providers = config.providers().unwrap();
        let error = config.secrets(&providers).err().unwrap().to_string();
        assert!(
            error.contains("PROVIDER_SECRETS") && error.contains("line 1, column"),
            "{error}"
        );
        assert!(!error.contains("sk_live_x"), "{error}");
    }

    #[test]
    fn a_provider_s_secrets_are_read_as_its_protocol_has_them() {
        let verifiers = |secrets: &str| {
            let providers = r#"[{"name":"b","protocol":"messagebird","url":"http://x","rate_per_s":1,"batch_size":1},
                {"name":"c","protocol":"callback","url":"http://x","rate_per_s":1,"batch_size":1}]"#;
            let config = Config::new(|key| match key {
                "PROVIDERS" => Some(providers.to_owned()),
                "PROVIDER_SECRETS" => Some(secrets.to_owned()),
                _ => None,
            });
            let verifiers = config.webhook_verifiers(&config.providers().unwrap());
            verifiers
                .map(|found| found.into_keys().collect::<String>())
                .map_err(|error| error.to_string())
        };
        let bird = r#""b":{"token":"t","webhook_secrets":"sixteen-bytes-it"}"#;
        let caller = r#""c":{"webhook_secrets":"of twenty-four bytes or more"}"#;
        assert!(
            verifiers(&format!("{{{bird},{caller}}}"))
                .unwrap_err()
                .contains("c: must hold 1 to 2 secrets")
        );
        let caller = caller.replace(' ', "_");
        assert_eq!(verifiers(&format!("{{{bird},{caller}}}")).unwrap(), "bc");
        // A malformed secret of a removed provider is no reason not to start.
        let gone = r#""gone":{"webhook_secrets":"any"}"#;
        assert_eq!(
            verifiers(&format!("{{{bird},{caller},{gone}}}")).unwrap(),
            "bc"
        );
        let short = r#""c":{"webhook_secrets":"short"}"#;
        assert!(
            verifiers(&format!("{{{bird},{short}}}"))
                .unwrap_err()
                .contains("c: a secret must have 24 bytes")
        );
        let short = bird.replace("-it", "");
        assert!(
            verifiers(&format!("{{{short},{caller}}}"))
                .unwrap_err()
                .contains("b: a signing key must have 16 bytes")
        );
    }
}
