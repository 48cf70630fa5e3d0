//! A scene: callers, the local stack, and the simulated FastSMSing, perhaps with other providers.
//!
//! Its callers record which messages were accepted, so that the audit can compare them with the
//! record and with the providers' ledgers. A test has to finish its scene: that drains it and
//! asserts that nothing was lost and that the record explains the bill. A scene that is dropped
//! unfinished fails its test.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use domain::digest::sha256_hex;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::audit::Audit;
use crate::callback::Callback;
use crate::caller::Caller;
use crate::event_source::Redelivery;
use crate::fastsmsing::{self, FastSmsing};
use crate::messagebird::MessageBird;
use crate::providers::{ExtraProvider, ExtraProviders, secret_of};
use crate::stack::{self, Stack};
use crate::wire::Wire;

/// How often a scene checks whether the provider's wire is quiet.
const LOOK_MS: u64 = 20;
/// The clients of every scene.
const CLIENTS: [&str; 3] = ["ops", "shop", "stall"];
/// The one client that may see and do everything.
const OPERATOR: &str = "ops";
/// What FastSMSing signs its reports with.
const WEBHOOK_SECRET: &str = "whsec_bG9jYWwtc2VjcmV0LW9mLXRoZS1zY2VuZQ==";

/// How a scene deploys the product, and how its providers behave.
#[derive(Clone, Debug)]
pub struct Settings {
    pub window_s: u32,
    pub batch_size: usize,
    pub rate_per_s: f64,
    pub attempts_max: i64,
    /// How long a dispatcher waits for a provider's answer.
    pub timeout_ms: u64,
    pub fastsmsing: fastsmsing::Options,
    /// How long a provider's breaker stays open.
    pub open_s: u32,
    /// How old the backlog of an outage may become.
    pub backlog_age_max_s: u32,
    /// Whether FastSMSing is in the configuration. If so, it is the first provider there.
    pub fastsmsing_configured: bool,
    /// Providers besides FastSMSing.
    pub extra_providers: Vec<ExtraProvider>,
    pub redelivery: Option<Redelivery>,
    /// How long a bell stays invisible after its dispatcher failed, in place of the template's
    /// minutes.
    pub visibility_timeout_s: Option<u64>,
    /// How often a bell is received before it is dead-lettered, in place of the template's number.
    pub receives_max: Option<u64>,
    /// How many days ago the record begins.
    pub record_days: i64,
    /// The timeout of dispatch, in place of the template's minute.
    pub dispatch_timeout_s: Option<u64>,
    /// The timeout of sweep, in place of the template's.
    pub sweep_timeout_s: Option<u64>,
    /// The timeout of query, in place of the template's.
    pub query_timeout_s: Option<u64>,
    /// The price of one request to FastSMSing, as its configuration has it.
    pub price_per_request: Option<String>,
    /// Variables for all functions, in addition to those of the template.
    pub environment: BTreeMap<String, String>,
    /// Puts a wire that can break in front of FastSMSing. It never hangs up, so a silence of the
    /// provider never ends.
    pub provider_wire: bool,
    /// The port of the front door, or any free one.
    pub port: Option<u16>,
    /// Whether the functions run. Without them there are the stores and the providers alone.
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
            extra_providers: Vec::new(),
            redelivery: None,
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

/// A running scene.
pub struct Scene {
    pub stack: Stack,
    pub fastsmsing: FastSmsing,
    /// More providers that use FastSMSing's protocol.
    pub backups: Vec<FastSmsing>,
    pub messagebirds: Vec<MessageBird>,
    pub callbacks: Vec<Callback>,
    /// The wire between the functions and FastSMSing, if the settings ask for one.
    pub provider_wire: Option<Wire>,
    pub settings: Settings,
    shop: Caller,
    stall: Caller,
    operator: Caller,
    finished: bool,
}

impl Scene {
    pub async fn start(settings: Settings) -> Result<Self> {
        let fastsmsing = FastSmsing::start("fastsmsing", settings.fastsmsing.clone())?;
        let provider_wire = match settings.provider_wire {
            true => Some(Wire::start(fastsmsing.url()).await?),
            false => None,
        };
        let provider_url = provider_wire
            .as_ref()
            .map_or(fastsmsing.url().to_owned(), Wire::url);
        let extra_providers = ExtraProviders::start(&settings)?;
        let stack = Stack::start(stack::Options {
            parameters: parameters(&settings, &provider_url, &extra_providers),
            secrets: secrets(&fastsmsing, &extra_providers),
            functions: settings.functions,
            redelivery: settings.redelivery,
            visibility_timeout_s: settings.visibility_timeout_s,
            receives_max: settings.receives_max,
            timeouts_s: timeouts_s(&settings),
            environment: settings.environment.clone(),
            port: settings.port,
        })
        .await?;
        let url = if settings.functions {
            stack.url()
        } else {
            String::new()
        };
        let shop = Caller::new(&url, &key_of("shop"))?;
        let mut scene = Self {
            stack,
            fastsmsing,
            backups: extra_providers.fastsmsings,
            messagebirds: extra_providers.messagebirds,
            callbacks: extra_providers.callbacks,
            provider_wire,
            settings,
            stall: shop.with_key(&key_of("stall")),
            operator: shop.with_key(&key_of(OPERATOR)),
            shop,
            // A scene whose start fails here has nothing to finish.
            finished: true,
        };
        if scene.settings.functions {
            scene.report_to(&format!("{url}/messages/delivery_status"))?;
        }
        scene.finished = false;
        Ok(scene)
    }

    /// Points all providers that use FastSMSing's protocol at the address where they are to report.
    pub fn report_to(&self, webhook: &str) -> Result<()> {
        self.fastsmsing.point_at(webhook, WEBHOOK_SECRET)?;
        self.backups
            .iter()
            .try_for_each(|backup| backup.point_at(webhook, &secret_of(backup.name())))
    }

    /// All providers that use FastSMSing's protocol, in the order of their configuration.
    pub fn fastsmsings(&self) -> impl Iterator<Item = &FastSmsing> {
        [&self.fastsmsing].into_iter().chain(&self.backups)
    }

    /// A client, which sees only its own messages.
    pub fn shop(&self) -> &Caller {
        &self.shop
    }

    /// Another such client.
    pub fn stall(&self) -> &Caller {
        &self.stall
    }

    /// A client that is an operator, and sees everything.
    pub fn operator(&self) -> &Caller {
        &self.operator
    }

    /// The secret with which FastSMSing signs its reports.
    pub fn webhook_secret(&self) -> &str {
        WEBHOOK_SECRET
    }

    /// Posts any body as a report that FastSMSing has signed; returns the status and the document.
    pub async fn report(&self, body: Vec<u8>) -> Result<(StatusCode, Value)> {
        let now_s = jiff::Timestamp::now().as_second();
        let signature = fastsmsing::Secret::parse(WEBHOOK_SECRET)?.sign("by-hand", now_s, &body);
        let headers = [
            ("webhook-id", "by-hand"),
            ("webhook-timestamp", &now_s.to_string()),
            ("webhook-signature", &signature),
        ];
        self.report_with(body, &headers).await
    }

    /// Posts a report with these headers; returns the status and the document.
    pub async fn report_with(
        &self,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<(StatusCode, Value)> {
        self.shop
            .post_bytes_with("/messages/delivery_status", body, headers)
            .await
    }

    /// The ids of the messages that were answered with a 202.
    pub fn accepted_ids(&self) -> Vec<String> {
        self.shop.accepted_ids()
    }

    /// Waits until nothing is under way any more, neither messages nor reports.
    pub async fn drain(&self) -> Result<()> {
        self.stack.wait_until_quiet().await?;
        // Requests that the wire has delayed may arrive after their client has stopped waiting.
        while self
            .provider_wire
            .as_ref()
            .is_some_and(|wire| wire.activity().running() > 0)
        {
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
        self.fastsmsing.updates_settled().await?;
        self.extra_providers_settled().await?;
        self.stack.wait_until_quiet().await
    }

    /// Drains the scene and asserts that the three ledgers agree.
    pub async fn finish(mut self) -> Result<Audit> {
        self.finished = true;
        self.drain().await?;
        let audit = Audit::of(&self).await?;
        ensure!(
            audit.problems.is_empty(),
            "the ledgers do not agree:\n{}",
            audit.problems.join("\n")
        );
        Ok(audit)
    }

    /// A scene that need not be finished, for people, who may leave at any time.
    pub fn without_audit(mut self) -> Self {
        self.finished = true;
        self
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        assert!(
            self.finished || thread::panicking(),
            "a scene was dropped without being finished"
        );
    }
}

/// The timeouts that replace the template's, by function.
fn timeouts_s(settings: &Settings) -> BTreeMap<String, u64> {
    let given = [
        ("dispatch", settings.dispatch_timeout_s),
        ("sweep", settings.sweep_timeout_s),
        ("query", settings.query_timeout_s),
    ];
    given
        .into_iter()
        .filter_map(|(function, timeout_s)| Some((function.to_owned(), timeout_s?)))
        .collect()
}

/// The API key of a client.
fn key_of(client: &str) -> String {
    format!("local-{client}-key")
}

/// The secret of all providers, as Secrets Manager has it.
fn secrets(fastsmsing: &FastSmsing, extra_providers: &ExtraProviders) -> BTreeMap<String, String> {
    let own = json!({"token": fastsmsing.token(), "webhook_secrets": WEBHOOK_SECRET});
    let mut secrets = json!({"fastsmsing": own});
    extra_providers.add_secrets(&mut secrets);
    [("sms-proxy/providers".to_owned(), secrets.to_string())].into()
}

/// The parameters of the template.
fn parameters(
    settings: &Settings,
    provider_url: &str,
    extra_providers: &ExtraProviders,
) -> BTreeMap<String, String> {
    let clients = CLIENTS.map(|name| {
        let key_sha256 = sha256_hex(key_of(name).as_bytes());
        json!({"name": name, "key_sha256": key_sha256, "operator": name == OPERATOR})
    });
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
    let providers: Value = fastsmsing
        .into_iter()
        .chain(extra_providers.configuration.clone())
        .collect();
    let since =
        jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * settings.record_days);
    [
        ("Clients", Value::from_iter(clients).to_string()),
        ("ProviderList", providers.to_string()),
        ("BatchWindowS", settings.window_s.to_string()),
        ("BacklogAgeMaxS", settings.backlog_age_max_s.to_string()),
        ("AttemptsMax", settings.attempts_max.to_string()),
        ("RecordSince", domain::id::utc_day(since).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
