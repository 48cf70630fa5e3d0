//! A caller of the proxy, who notes what was promised.

mod calls;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

/// How long a caller waits before it repeats a call that was not answered with a 202, and how often it does.
const REPEAT_MS: u64 = 200;
const REPEATS_MAX: usize = 300;

/// Somebody who calls: an address, a key, and what they were told.
#[derive(Clone)]
pub struct Caller {
    pub url: String,
    pub key: String,
    http: Client,
    told: Arc<Mutex<Vec<String>>>,
}

impl Caller {
    /// One that was told nothing so far.
    pub fn new(url: &str, key: &str) -> Result<Self> {
        Ok(Self { url: url.to_owned(), key: key.to_owned(), http: http()?, told: Arc::default() })
    }

    /// The ids that were given with a 202.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

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

    /// POST JSON to any path, with these headers in place of a key; the status and the document.
    pub async fn post_bytes_with(
        &self,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<(StatusCode, Value)> {
        let request =
            self.http.post(format!("{}{path}", self.url)).header("Content-Type", "application/json").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await?;
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
    pub fn note(&self, answer: Value) -> Result<String> {
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

pub(crate) fn http() -> Result<Client> {
    // An error here says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().no_proxy().build()?)
}

/// A message that is always accepted; `n` makes its recipient.
pub fn message(n: usize) -> Value {
    json!({"recipient": 31_600_000_000_u64 + n as u64, "originator": "MB", "message": format!("Your parcel {n} is on its way.")})
}
