//! A scene: the local stack with FastSMSing behind it and callers in front.
//!
//! It notes what the callers are told, so that an audit can hold it against the record and the provider's
//! ledger. A scene has to be finished: that drains it and asserts that nothing was lost and that the bill is
//! explained. One that is dropped before is a mistake of its test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use shared::auth::sha256_hex;
use tokio::time::sleep;
use uuid::Uuid;

use crate::audit::Audit;
use crate::event_source::Mischief;
use crate::fastsmsing::{self, FastSmsing};
use crate::stack::{self, Stack};
use crate::wire::Wire;

/// How often a scene looks whether the provider's wire is quiet.
const LOOK_MS: u64 = 20;
/// How long a caller waits before it repeats a call that was not answered with a 202, and how often it does.
const REPEAT_MS: u64 = 200;
const REPEATS_MAX: usize = 300;

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
    /// A name under which FastSMSing stands in the configuration once more.
    pub second_name: Option<String>,
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
            mischief: None,
            visibility_timeout_s: None,
            receives_max: None,
            record_days: 1,
            dispatch_timeout_s: None,
            sweep_timeout_s: None,
            query_timeout_s: None,
            price_per_request: None,
            second_name: None,
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
    /// Between the functions and the provider, if the settings ask for it.
    pub provider_wire: Option<Wire>,
    pub settings: Settings,
    shop: Caller,
    stall: Caller,
    operator: Caller,
    webhook_secret: String,
    finished: bool,
}

/// Somebody who calls: an address, a key, and what they were told.
#[derive(Clone)]
pub struct Caller {
    pub url: String,
    pub key: String,
    http: Client,
    told: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    pub async fn start(settings: Settings) -> Result<Self> {
        let fastsmsing = FastSmsing::start(settings.fastsmsing.clone())?;
        let provider_wire = match settings.provider_wire {
            true => Some(Wire::start(fastsmsing.url()).await?),
            false => None,
        };
        let provider_url = provider_wire.as_ref().map_or(fastsmsing.url().to_owned(), Wire::url);
        let keys: BTreeMap<_, _> = ["shop", "stall", "ops"].map(|name| (name, format!("local-{name}-key"))).into();
        let webhook_secret = "whsec_bG9jYWwtc2VjcmV0LW9mLXRoZS1zY2VuZQ==".to_owned();
        let mut secrets = json!({"fastsmsing": {"token": fastsmsing.token(), "webhook_secrets": webhook_secret}});
        if let Some(name) = &settings.second_name {
            secrets[name] = secrets["fastsmsing"].clone();
        }
        let stack = Stack::start(stack::Options {
            parameters: parameters(&settings, &provider_url, &keys),
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
        if settings.functions {
            fastsmsing.point_at(&format!("{url}/messages/delivery_status"), &webhook_secret)?;
        }
        let http = http()?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let caller = |name: &str| Caller {
            url: url.clone(),
            key: keys[name].clone(),
            http: http.clone(),
            told: Arc::clone(&told),
        };
        let (shop, stall, operator) = (caller("shop"), caller("stall"), caller("ops"));
        Ok(Self { stack, fastsmsing, provider_wire, settings, shop, stall, operator, webhook_secret, finished: false })
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
        let url = format!("{}/messages/delivery_status", self.shop.url);
        let request = self.shop.http.post(url).header("Content-Type", "application/json").body(body);
        let response =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// The ids that callers were given with a 202.
    pub fn told(&self) -> Vec<String> {
        self.shop.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until nothing is on its way any more, in either direction.
    pub async fn drain(&self) -> Result<()> {
        self.stack.quiet().await?;
        // Requests that a wire has delayed may arrive when nobody waits for them any more.
        while self.provider_wire.as_ref().is_some_and(|wire| wire.activity().running() > 0) {
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
        self.fastsmsing.updates_settled().await?;
        self.stack.quiet().await
    }

    /// Drains, and asserts that the three ledgers agree.
    pub async fn finish(mut self) -> Result<Audit> {
        self.drain().await?;
        let audit = Audit::of(&self).await?;
        self.finished = true;
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

impl Caller {
    /// POST /messages; a 202 is noted.
    pub async fn post(&self, message: &Value) -> Result<Response> {
        self.post_with(message, &[]).await
    }

    pub async fn post_with(&self, message: &Value, headers: &[(&str, &str)]) -> Result<Response> {
        let request = self.http.post(format!("{}/messages", self.url)).header("X-API-Key", &self.key).json(message);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Ok(request.send().await?)
    }

    /// POST /messages with any bytes; the status and the document.
    pub async fn post_bytes(&self, content_type: &str, body: Vec<u8>) -> Result<(StatusCode, Value)> {
        let request = self.http.post(format!("{}/messages", self.url)).header("X-API-Key", &self.key);
        let response = request.header("Content-Type", content_type).body(body).send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// The same caller with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// POST /messages with a message that has to be accepted, as a careful client does; its id.
    pub async fn send(&self, message: &Value) -> Result<String> {
        self.insist(message, Some(&Uuid::now_v7().to_string())).await
    }

    /// Notes a 202; its id.
    fn note(&self, answer: Value) -> Result<String> {
        let id = answer["id"].as_str().context("an answer has an id")?.to_owned();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        Ok(id)
    }

    /// POST any path; the status and the document.
    pub async fn post_to(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let request = self.http.post(format!("{}{path}", self.url)).header("X-API-Key", &self.key).json(body);
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// POST /messages until there is a 202, as a sane caller does: after a 5xx or a lost connection the same
    /// request again, under its Idempotency-Key if it has one; its id.
    pub async fn insist(&self, message: &Value, key: Option<&str>) -> Result<String> {
        let headers: Vec<_> = key.map(|key| ("Idempotency-Key", key)).into_iter().collect();
        for _ in 0..REPEATS_MAX {
            if let Ok(response) = self.post_with(message, &headers).await {
                let status = response.status();
                if status == StatusCode::ACCEPTED {
                    return self.note(response.json().await?);
                }
                ensure!(status.is_server_error(), "{status}");
            }
            sleep(Duration::from_millis(REPEAT_MS)).await;
        }
        bail!("no 202 after {REPEATS_MAX} calls")
    }

    /// GET any path; the status and the document.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let response = self.raw(path).await?;
        Ok((response.status(), response.json().await?))
    }

    /// GET any path.
    pub async fn raw(&self, path: &str) -> Result<Response> {
        Ok(self.http.get(format!("{}{path}", self.url)).header("X-API-Key", &self.key).send().await?)
    }

    /// GET /messages/{id} of a message that has to be there.
    pub async fn message(&self, id: &str) -> Result<Value> {
        let (status, message) = self.get(&format!("/messages/{id}")).await?;
        ensure!(status == StatusCode::OK, "{status}: {message}");
        Ok(message)
    }

    /// All of GET /messages, page by page.
    pub async fn list(&self, limit: usize) -> Result<Vec<Value>> {
        let (mut messages, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, mut page) = self.get(&format!("/messages?limit={limit}{cursor}")).await?;
            ensure!(status == StatusCode::OK, "{status}: {page}");
            messages.append(page["messages"].as_array_mut().context("a page has messages")?);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(messages),
            }
        }
    }
}

/// A message that is always accepted; `n` makes its recipient.
pub fn message(n: usize) -> Value {
    json!({"recipient": 31_600_000_000_u64 + n as u64, "originator": "MB", "message": format!("Your parcel {n} is on its way.")})
}

fn timeouts_s(settings: &Settings) -> BTreeMap<String, u64> {
    let given = [
        ("dispatch", settings.dispatch_timeout_s),
        ("sweep", settings.sweep_timeout_s),
        ("query", settings.query_timeout_s),
    ];
    given.into_iter().filter_map(|(function, timeout_s)| Some((function.to_owned(), timeout_s?))).collect()
}

fn parameters(settings: &Settings, provider_url: &str, keys: &BTreeMap<&str, String>) -> BTreeMap<String, String> {
    let clients = keys
        .iter()
        .map(|(name, key)| json!({"name": name, "key_sha256": sha256_hex(key.as_bytes()), "operator": *name == "ops"}));
    let mut providers = json!([{
        "name": "fastsmsing",
        "url": provider_url,
        "rate_per_s": settings.rate_per_s,
        "batch_size": settings.batch_size,
        "key_lifetime_s": settings.fastsmsing.key_lifetime_s,
        "timeout_ms": settings.timeout_ms,
        "price_per_request": settings.price_per_request,
    }]);
    if let (Some(name), Some(listed)) = (&settings.second_name, providers.as_array_mut()) {
        let mut second = listed[0].clone();
        second["name"] = json!(name);
        listed.push(second);
    }
    let since = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * settings.record_days);
    [
        ("Clients", Value::from_iter(clients).to_string()),
        ("ProviderList", providers.to_string()),
        ("BatchWindowS", settings.window_s.to_string()),
        ("AttemptsMax", settings.attempts_max.to_string()),
        ("RecordSince", shared::id::utc_day(since).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(crate) fn http() -> Result<Client> {
    // An error here says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().no_proxy().build()?)
}
