//! A caller of the proxy: a client of its HTTP API that records each 202 for the audit.

mod calls;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

/// How long a caller waits before it repeats a call that was not answered with a 202, and how often
/// it repeats one.
const REPEAT_MS: u64 = 200;
const REPEATS_MAX: usize = 300;

/// A client with its address and its key. Clones share the ids that were accepted.
#[derive(Clone)]
pub struct Caller {
    pub url: String,
    pub key: String,
    http: Client,
    accepted: Arc<Mutex<Vec<String>>>,
}

impl Caller {
    pub fn new(url: &str, key: &str) -> Result<Self> {
        Ok(Self {
            url: url.to_owned(),
            key: key.to_owned(),
            http: http()?,
            accepted: Arc::default(),
        })
    }

    /// The ids of the messages that were answered with a 202.
    pub fn accepted_ids(&self) -> Vec<String> {
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Posts to /messages and returns the response, which is not recorded.
    pub async fn post(&self, message: &Value) -> Result<Response> {
        self.post_with(message, &[]).await
    }

    /// The same, with additional headers.
    pub async fn post_with(&self, message: &Value, headers: &[(&str, &str)]) -> Result<Response> {
        let request = self
            .http
            .post(format!("{}/messages", self.url))
            .header("X-API-Key", &self.key)
            .json(message);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        Ok(request.send().await?)
    }

    /// Posts any bytes to /messages; returns the status and the document.
    pub async fn post_bytes(
        &self,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Value)> {
        let request = self
            .http
            .post(format!("{}/messages", self.url))
            .header("X-API-Key", &self.key);
        let response = request
            .header("Content-Type", content_type)
            .body(body)
            .send()
            .await?;
        Ok((response.status(), response.json().await?))
    }

    /// Posts JSON to any path, with these headers in place of a key; returns the status and the
    /// document.
    pub async fn post_bytes_with(
        &self,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<(StatusCode, Value)> {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("Content-Type", "application/json")
            .body(body);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// The same caller with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// Posts a message until it is accepted, under an idempotency key as a careful client does;
    /// returns its id.
    pub async fn send(&self, message: &Value) -> Result<String> {
        self.post_until_accepted(message, Some(&Uuid::now_v7().to_string()))
            .await
    }

    /// Records the document of a 202; returns the id of the message.
    pub fn note_accepted(&self, answer: Value) -> Result<String> {
        let id = answer["id"]
            .as_str()
            .context("an answer has an id")?
            .to_owned();
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id.clone());
        Ok(id)
    }

    /// Posts to any path; returns the status and the document.
    pub async fn post_to(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("X-API-Key", &self.key)
            .json(body);
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// Posts a message until it is answered with a 202; returns its id. After a 5xx or a lost
    /// connection it repeats the same request, under the same idempotency key if there is one.
    pub async fn post_until_accepted(&self, message: &Value, key: Option<&str>) -> Result<String> {
        let headers: Vec<_> = key
            .map(|key| ("Idempotency-Key", key))
            .into_iter()
            .collect();
        for _ in 0..REPEATS_MAX {
            if let Ok(response) = self.post_with(message, &headers).await {
                let status = response.status();
                if status == StatusCode::ACCEPTED {
                    return self.note_accepted(response.json().await?);
                }
                ensure!(status.is_server_error(), "{status}");
            }
            sleep(Duration::from_millis(REPEAT_MS)).await;
        }
        bail!("no 202 after {REPEATS_MAX} calls")
    }

    /// Gets any path; returns the status and the document.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let response = self.get_response(path).await?;
        Ok((response.status(), response.json().await?))
    }

    /// Gets any path.
    pub async fn get_response(&self, path: &str) -> Result<Response> {
        Ok(self
            .http
            .get(format!("{}{path}", self.url))
            .header("X-API-Key", &self.key)
            .send()
            .await?)
    }

    /// Gets a message that has to exist.
    pub async fn message(&self, id: &str) -> Result<Value> {
        let (status, message) = self.get(&format!("/messages/{id}")).await?;
        ensure!(status == StatusCode::OK, "{status}: {message}");
        Ok(message)
    }

    /// Lists all messages, page by page.
    pub async fn list(&self, limit: usize) -> Result<Vec<Value>> {
        let (mut messages, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, mut page) = self
                .get(&format!("/messages?limit={limit}{cursor}"))
                .await?;
            ensure!(status == StatusCode::OK, "{status}: {page}");
            messages.append(
                page["messages"]
                    .as_array_mut()
                    .context("a page has messages")?,
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(messages),
            }
        }
    }
}

pub(crate) fn http() -> Result<Client> {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().no_proxy().build()?)
}

/// A message that is always accepted; its recipient is made of `n`.
pub fn message(n: usize) -> Value {
    json!({
        "recipient": 31_600_000_000_u64 + n as u64,
        "originator": "MB",
        "message": format!("Your parcel {n} is on its way."),
    })
}
