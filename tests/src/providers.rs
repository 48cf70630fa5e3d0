//! The providers of a scene besides FastSMSing: which there are, how they are configured, and what
//! they billed.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::fastsmsing::FastSmsing;
use crate::messagebird::MessageBird;
use crate::scene::{Scene, Settings};
use crate::simulator::{Billed, Options};

/// A provider that a scene is to start.
#[derive(Clone, Debug)]
pub struct ExtraProvider {
    pub name: String,
    pub protocol: ProtocolKind,
    pub rate_per_s: f64,
    pub batch_size: usize,
    pub weight: u32,
    /// The options of its simulator.
    pub options: Options,
}

/// The protocol of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolKind {
    FastSmsing,
    MessageBird,
    Callback { with_token: bool },
}

/// The running providers, in the order in which the settings list them.
#[derive(Default)]
pub(crate) struct ExtraProviders {
    pub(crate) fastsmsings: Vec<FastSmsing>,
    pub(crate) messagebirds: Vec<MessageBird>,
    pub(crate) callbacks: Vec<Callback>,
    /// Their entries in the product's configuration.
    pub(crate) configuration: Vec<Value>,
    secrets: BTreeMap<String, Value>,
}

/// What the product has to know of a provider that runs.
struct Started {
    protocol: &'static str,
    url: String,
    secrets: Value,
}

impl ExtraProvider {
    pub fn fastsmsing(name: &str) -> Self {
        Self::new(
            name,
            ProtocolKind::FastSmsing,
            Options::default().batch_size_max,
        )
    }

    pub fn messagebird(name: &str) -> Self {
        Self::new(name, ProtocolKind::MessageBird, 50)
    }

    pub fn callback(name: &str) -> Self {
        Self::new(name, ProtocolKind::Callback { with_token: true }, 1)
    }

    /// Makes the provider report only what the test makes it report.
    pub fn by_hand(mut self) -> Self {
        self.options.updates.automatic = false;
        self
    }

    fn new(name: &str, protocol: ProtocolKind, batch_size: usize) -> Self {
        let options = Options {
            batch_size_max: batch_size,
            ..Options::default()
        };
        Self {
            name: name.to_owned(),
            protocol,
            rate_per_s: 20.0,
            batch_size,
            weight: 1,
            options,
        }
    }
}

impl ExtraProviders {
    pub(crate) fn start(settings: &Settings) -> Result<Self> {
        let mut running = Self::default();
        for provider in &settings.extra_providers {
            let Started {
                protocol,
                url,
                secrets,
            } = running.start_one(provider)?;
            running.configuration.push(json!({
                "name": provider.name,
                "protocol": protocol,
                "url": url,
                "rate_per_s": provider.rate_per_s,
                "batch_size": provider.batch_size,
                "weight": provider.weight,
                "timeout_ms": settings.timeout_ms,
                "open_s": settings.open_s,
                "key_lifetime_s": provider.options.key_lifetime_s,
            }));
            running.secrets.insert(provider.name.clone(), secrets);
        }
        Ok(running)
    }

    fn start_one(&mut self, provider: &ExtraProvider) -> Result<Started> {
        let (name, options) = (provider.name.as_str(), provider.options.clone());
        let (protocol, url, token, webhook_secrets) = match provider.protocol {
            ProtocolKind::FastSmsing => {
                let fastsmsing = FastSmsing::start(name, options)?;
                let (url, token) = (fastsmsing.url().to_owned(), fastsmsing.token().to_owned());
                self.fastsmsings.push(fastsmsing);
                ("fastsmsing", url, token, secret_of(name))
            }
            ProtocolKind::MessageBird => {
                let messagebird = MessageBird::start(name, options)?;
                let (url, token) = (messagebird.url().to_owned(), messagebird.token().to_owned());
                let signing_key = messagebird.signing_key().to_owned();
                self.messagebirds.push(messagebird);
                ("messagebird", url, token, signing_key)
            }
            ProtocolKind::Callback { with_token } => {
                let callback = Callback::start(name, with_token, options)?;
                let (url, token) = (callback.send_url(), callback.token().to_owned());
                self.callbacks.push(callback);
                ("callback", url, token, plain_secret_of(name))
            }
        };
        Ok(Started {
            protocol,
            url,
            secrets: json!({"token": token, "webhook_secrets": webhook_secrets}),
        })
    }

    /// Adds their secrets to those of all providers.
    pub(crate) fn add_secrets(&self, all: &mut Value) {
        for (name, secrets) in &self.secrets {
            all[name] = secrets.clone();
        }
    }
}

/// The secret with which a provider of FastSMSing's protocol signs its reports.
pub(crate) fn secret_of(name: &str) -> String {
    format!("whsec_{}", STANDARD.encode(plain_secret_of(name)))
}

/// The secret of a provider as plain text. A provider that calls back has its tokens made of it.
fn plain_secret_of(name: &str) -> String {
    format!("what-proves-the-reports-of-{name}")
}

impl Scene {
    /// The first MessageBird. The settings have to list one.
    pub fn messagebird(&self) -> &MessageBird {
        &self.messagebirds[0]
    }

    /// The first provider that calls back. The settings have to list one.
    pub fn callback(&self) -> &Callback {
        &self.callbacks[0]
    }

    /// Waits until none of these providers has anything left to report.
    pub(crate) async fn extra_providers_settled(&self) -> Result<()> {
        for backup in &self.backups {
            backup.updates_settled().await?;
        }
        for messagebird in &self.messagebirds {
            messagebird.updates_settled().await?;
        }
        for callback in &self.callbacks {
            callback.updates_settled().await?;
        }
        Ok(())
    }

    /// What each provider has billed, with its name.
    pub(crate) fn ledgers(&self) -> Vec<(&str, Vec<Billed>)> {
        let messagebirds = self
            .messagebirds
            .iter()
            .map(|messagebird| (messagebird.name(), messagebird.ledger()));
        let callbacks = self
            .callbacks
            .iter()
            .map(|callback| (callback.name(), callback.ledger()));
        let fastsmsings = self.fastsmsings().map(|one| (one.name(), one.ledger()));
        fastsmsings.chain(messagebirds).chain(callbacks).collect()
    }
}
