//! A scene: the local stack with FastSMSing behind it and callers in front.
//!
//! It notes what the callers are told, so that an audit can hold it against the record and the provider's
//! ledger. A scene has to be finished: that drains it and asserts that nothing was lost and that the bill is
//! explained. One that is dropped before is a mistake of its test.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::auth::sha256_hex;
use tokio::time::sleep;

use crate::audit::Audit;
use crate::callback::Callback;
use crate::caller::Caller;
use crate::event_source::Mischief;
use crate::fastsmsing::{self, FastSmsing};
use crate::messagebird::MessageBird;
use crate::others::{Other, Others, secret_of};
use crate::stack::{self, Stack};
use crate::wire::Wire;

/// How often a scene looks whether the provider's wire is quiet.
const LOOK_MS: u64 = 20;

/// Of the deployment that a scene plays.
#[derive(Clone, Debug)]
pub struct Settings {
    pub window_s: u32,
    pub batch_size: usize,
    pub rate_per_s: f64,
    pub attempts_max: i64,
    /// How long a provider's answer is waited for.
    pub timeout_ms: u64,
    pub fastsmsing: fastsmsing::Options,
    /// How long a provider's breaker stays open.
    pub open_s: u32,
    /// How old the backlog of an outage may get.
    pub backlog_age_max_s: u32,
    /// FastSMSing is in the configuration, and first there.
    pub fastsmsing_configured: bool,
    /// Providers beside it.
    pub others: Vec<Other>,
    pub mischief: Option<Mischief>,
    /// How long a bell is gone when its dispatcher failed; the template's minutes if not given.
    pub visibility_timeout_s: Option<u64>,
    /// How often a bell is received before it is dead; the template's if not given.
    pub receives_max: Option<u64>,
    /// How many days ago the record begins.
    pub record_days: i64,
    /// How long a dispatcher may work; the template's minute if not given.
    pub dispatch_timeout_s: Option<u64>,
    /// How long a sweep may work, likewise.
    pub sweep_timeout_s: Option<u64>,
    /// How long a query may work, likewise.
    pub query_timeout_s: Option<u64>,
    /// Of one request, as the configuration says it.
    pub price_per_request: Option<String>,
    /// For all functions, beside what the template gives them.
    pub environment: BTreeMap<String, String>,
    /// Puts a wire that can break before the provider. It never hangs up, so no silence of the provider would end.
    pub provider_wire: bool,
    pub port: Option<u16>,
    pub functions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window_s: 1,
            batch_size: 100,
            rate_per_s: 20.0,
            attempts_max: 3,
            timeout_ms: 10_000,
            fastsmsing: fastsmsing::Options::default(),
            open_s: 1,
            backlog_age_max_s: 900,
            fastsmsing_configured: true,
            others: Vec::new(),
            mischief: None,
            visibility_timeout_s: None,
            receives_max: None,
            record_days: 1,
            dispatch_timeout_s: None,
            sweep_timeout_s: None,
            query_timeout_s: None,
            price_per_request: None,
            environment: BTreeMap::new(),
            provider_wire: false,
            port: None,
            functions: true,
        }
    }
}

pub struct Scene {
    pub stack: Stack,
    pub fastsmsing: FastSmsing,
    pub rivals: Vec<FastSmsing>,
    pub messagebirds: Vec<MessageBird>,
    pub callbacks: Vec<Callback>,
    /// Between the functions and the provider, if the settings ask for it.
    pub provider_wire: Option<Wire>,
    pub settings: Settings,
    shop: Caller,
    stall: Caller,
    operator: Caller,
    webhook_secret: String,
    finished: bool,
}

impl Scene {
    pub async fn start(settings: Settings) -> Result<Self> {
        let fastsmsing = FastSmsing::start("fastsmsing", settings.fastsmsing.clone())?;
        let provider_wire = match settings.provider_wire {
            true => Some(Wire::start(fastsmsing.url()).await?),
            false => None,
        };
        let provider_url = provider_wire.as_ref().map_or(fastsmsing.url().to_owned(), Wire::url);
        let keys: BTreeMap<_, _> = ["shop", "stall", "ops"].map(|name| (name, format!("local-{name}-key"))).into();
        let webhook_secret = "whsec_bG9jYWwtc2VjcmV0LW9mLXRoZS1zY2VuZQ==".to_owned();
        let others = Others::start(&settings)?;
        let mut secrets = json!({"fastsmsing": {"token": fastsmsing.token(), "webhook_secrets": webhook_secret}});
        others.add_secrets(&mut secrets);
        let stack = Stack::start(stack::Options {
            parameters: parameters(&settings, &provider_url, &others, &keys),
            secrets: [("sms-proxy/providers".to_owned(), secrets.to_string())].into(),
            functions: settings.functions,
            mischief: settings.mischief,
            visibility_timeout_s: settings.visibility_timeout_s,
            receives_max: settings.receives_max,
            timeouts_s: timeouts_s(&settings),
            environment: settings.environment.clone(),
            port: settings.port,
        })
        .await?;
        let url = if settings.functions { stack.url() } else { String::new() };
        let shop = Caller::new(&url, &keys["shop"])?;
        let (stall, operator) = (shop.with_key(&keys["stall"]), shop.with_key(&keys["ops"]));
        let mut scene = Self {
            stack,
            fastsmsing,
            rivals: others.fastsmsings,
            messagebirds: others.messagebirds,
            callbacks: others.callbacks,
            provider_wire,
            settings,
            shop,
            stall,
            operator,
            webhook_secret,
            // Until it has begun there is nothing to finish.
            finished: true,
        };
        if scene.settings.functions {
            scene.report_to(&format!("{url}/messages/delivery_status"))?;
        }
        scene.finished = false;
        Ok(scene)
    }

    /// Tells all that speak FastSMSing's protocol where to report.
    pub fn report_to(&self, webhook: &str) -> Result<()> {
        self.fastsmsing.point_at(webhook, &self.webhook_secret)?;
        self.rivals.iter().try_for_each(|rival| rival.point_at(webhook, &secret_of(rival.name())))
    }

    /// All providers that speak FastSMSing's protocol, in the order of their configuration.
    pub fn fastsmsings(&self) -> impl Iterator<Item = &FastSmsing> {
        [&self.fastsmsing].into_iter().chain(&self.rivals)
    }

    /// A client that sees its own messages.
    pub fn shop(&self) -> &Caller {
        &self.shop
    }

    /// Another such client.
    pub fn stall(&self) -> &Caller {
        &self.stall
    }

    /// A client that sees everything.
    pub fn operator(&self) -> &Caller {
        &self.operator
    }

    /// What reports are signed with.
    pub fn webhook_secret(&self) -> &str {
        &self.webhook_secret
    }

    /// Reports as the provider does, whatever the body; the status and the document.
    pub async fn report(&self, body: Vec<u8>) -> Result<(StatusCode, Value)> {
        let now_s = jiff::Timestamp::now().as_second();
        let signature = fastsmsing::Secret::parse(&self.webhook_secret)?.sign("by-hand", now_s, &body);
        let headers =
            [("webhook-id", "by-hand"), ("webhook-timestamp", &now_s.to_string()), ("webhook-signature", &signature)];
        self.report_with(body, &headers).await
    }

    /// Reports with these headers.
    pub async fn report_with(&self, body: Vec<u8>, headers: &[(&str, &str)]) -> Result<(StatusCode, Value)> {
        self.shop.post_bytes_with("/messages/delivery_status", body, headers).await
    }

    /// The ids that callers were given with a 202.
    pub fn told(&self) -> Vec<String> {
        self.shop.told()
    }

    /// Waits until nothing is on its way any more, in either direction.
    pub async fn drain(&self) -> Result<()> {
        self.stack.quiet().await?;
        // Requests that a wire has delayed may arrive when nobody waits for them any more.
        while self.provider_wire.as_ref().is_some_and(|wire| wire.activity().running() > 0) {
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
        self.fastsmsing.updates_settled().await?;
        self.others_settled().await?;
        self.stack.quiet().await
    }

    /// Drains, and asserts that the three ledgers agree.
    pub async fn finish(mut self) -> Result<Audit> {
        self.finished = true;
        self.drain().await?;
        let audit = Audit::of(&self).await?;
        ensure!(audit.problems.is_empty(), "the ledgers do not agree:\n{}", audit.problems.join("\n"));
        Ok(audit)
    }

    /// A scene for people, who may leave whenever they like: it need not be finished.
    pub fn untold(mut self) -> Self {
        self.finished = true;
        self
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        assert!(self.finished || thread::panicking(), "a scene was dropped without being finished");
    }
}

fn timeouts_s(settings: &Settings) -> BTreeMap<String, u64> {
    let given = [
        ("dispatch", settings.dispatch_timeout_s),
        ("sweep", settings.sweep_timeout_s),
        ("query", settings.query_timeout_s),
    ];
    given.into_iter().filter_map(|(function, timeout_s)| Some((function.to_owned(), timeout_s?))).collect()
}

fn parameters(
    settings: &Settings,
    provider_url: &str,
    others: &Others,
    keys: &BTreeMap<&str, String>,
) -> BTreeMap<String, String> {
    let clients = keys
        .iter()
        .map(|(name, key)| json!({"name": name, "key_sha256": sha256_hex(key.as_bytes()), "operator": *name == "ops"}));
    let fastsmsing = settings.fastsmsing_configured.then(|| {
        json!({
            "name": "fastsmsing",
            "url": provider_url,
            "rate_per_s": settings.rate_per_s,
            "batch_size": settings.batch_size,
            "key_lifetime_s": settings.fastsmsing.key_lifetime_s,
            "timeout_ms": settings.timeout_ms,
            "open_s": settings.open_s,
            "price_per_request": settings.price_per_request,
        })
    });
    let providers: Value = fastsmsing.into_iter().chain(others.configuration.clone()).collect();
    let since = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * settings.record_days);
    [
        ("Clients", Value::from_iter(clients).to_string()),
        ("ProviderList", providers.to_string()),
        ("BatchWindowS", settings.window_s.to_string()),
        ("BacklogAgeMaxS", settings.backlog_age_max_s.to_string()),
        ("AttemptsMax", settings.attempts_max.to_string()),
        ("RecordSince", shared::id::utc_day(since).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
