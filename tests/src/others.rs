//! The providers of a scene beside FastSMSing: which there are, how they are configured, and what they say they sent.

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

/// A provider to be.
#[derive(Clone, Debug)]
pub struct Other {
    pub name: String,
    pub speaks: Speaks,
    pub rate_per_s: f64,
    pub batch_size: usize,
    pub weight: u32,
    /// Of its simulator.
    pub options: Options,
}

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    FastSmsing,
    MessageBird,
    Callback { with_token: bool },
}

/// Those that run, in the order in which they were asked for.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) fastsmsings: Vec<FastSmsing>,
    pub(crate) messagebirds: Vec<MessageBird>,
    pub(crate) callbacks: Vec<Callback>,
    /// Entries of the configuration.
    pub(crate) configuration: Vec<Value>,
    secrets: BTreeMap<String, Value>,
}

impl Other {
    pub fn fastsmsing(name: &str) -> Self {
        Self::new(name, Speaks::FastSmsing, Options::default().batch_size_max)
    }

    pub fn messagebird(name: &str) -> Self {
        Self::new(name, Speaks::MessageBird, 50)
    }

    pub fn callback(name: &str) -> Self {
        Self::new(name, Speaks::Callback { with_token: true }, 1)
    }

    /// Reports nothing but what the test tells it to.
    pub fn by_hand(mut self) -> Self {
        self.options.updates.automatic = false;
        self
    }

    fn new(name: &str, speaks: Speaks, batch_size: usize) -> Self {
        let options = Options { batch_size_max: batch_size, ..Options::default() };
        Self { name: name.to_owned(), speaks, rate_per_s: 20.0, batch_size, weight: 1, options }
    }
}

impl Others {
    pub(crate) fn start(settings: &Settings) -> Result<Self> {
        let mut running = Self::default();
        for Other { name, speaks, rate_per_s, batch_size, weight, options } in &settings.others {
            let (protocol, url, secrets) = match *speaks {
                Speaks::FastSmsing => {
                    let fastsmsing = FastSmsing::start(name, options.clone())?;
                    let secrets = json!({"token": fastsmsing.token(), "webhook_secrets": secret_of(name)});
                    let url = fastsmsing.url().to_owned();
                    running.fastsmsings.push(fastsmsing);
                    ("fastsmsing", url, secrets)
                }
                Speaks::MessageBird => {
                    let bird = MessageBird::start(name, options.clone())?;
                    let secrets = json!({"token": bird.token(), "webhook_secrets": bird.signing_key()});
                    let url = bird.url().to_owned();
                    running.messagebirds.push(bird);
                    ("messagebird", url, secrets)
                }
                Speaks::Callback { with_token } => {
                    let texter = Callback::start(name, with_token, options.clone())?;
                    let secret = format!("what-proves-the-reports-of-{name}");
                    let secrets = json!({"token": texter.token(), "webhook_secrets": secret});
                    let url = texter.send_url();
                    running.callbacks.push(texter);
                    ("callback", url, secrets)
                }
            };
            running.configuration.push(json!({
                "name": name, "protocol": protocol, "url": url, "rate_per_s": rate_per_s, "batch_size": batch_size,
                "weight": weight, "timeout_ms": settings.timeout_ms, "open_s": settings.open_s,
                "key_lifetime_s": options.key_lifetime_s,
            }));
            running.secrets.insert(name.clone(), secrets);
        }
        Ok(running)
    }

    /// Adds theirs to the secret of all providers.
    pub(crate) fn add_secrets(&self, all: &mut Value) {
        for (name, secrets) in &self.secrets {
            all[name] = secrets.clone();
        }
    }
}

/// What a rival of this name signs its reports with.
pub(crate) fn secret_of(name: &str) -> String {
    format!("whsec_{}", STANDARD.encode(format!("what-proves-the-reports-of-{name}")))
}

impl Scene {
    /// The first MessageBird, which the settings have to ask for.
    pub fn messagebird(&self) -> &MessageBird {
        &self.messagebirds[0]
    }

    /// The first provider that calls back, likewise.
    pub fn callback(&self) -> &Callback {
        &self.callbacks[0]
    }

    /// Waits until none of them has anything to report.
    pub(crate) async fn others_settled(&self) -> Result<()> {
        for rival in &self.rivals {
            rival.updates_settled().await?;
        }
        for bird in &self.messagebirds {
            bird.updates_settled().await?;
        }
        for texter in &self.callbacks {
            texter.updates_settled().await?;
        }
        Ok(())
    }

    /// What each provider has billed, by its name.
    pub(crate) fn ledgers(&self) -> Vec<(&str, Vec<Billed>)> {
        let birds = self.messagebirds.iter().map(|bird| (bird.name(), bird.ledger()));
        let texters = self.callbacks.iter().map(|texter| (texter.name(), texter.ledger()));
        let fastsmsings = self.fastsmsings().map(|one| (one.name(), one.ledger()));
        fastsmsings.chain(birds).chain(texters).collect()
    }
}
