//! A caller's bulk posts, and its calls with other methods.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::{Caller, REPEAT_MS, REPEATS_MAX};

impl Caller {
    /// Sends a PUT to any path; returns the status and the document.
    pub async fn put_to(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        self.request(Method::PUT, path, Some(body), None).await
    }

    /// Sends a DELETE to any path; returns the status and the document.
    pub async fn delete(&self, path: &str) -> Result<(StatusCode, Value)> {
        self.request(Method::DELETE, path, None, None).await
    }

    /// Sends messages in one call as a client should: repeats it under its key until each of them
    /// is accepted. A proxy on a slow machine accepts some of them only. Returns their ids in order.
    pub async fn send_bulk(&self, messages: &[Value]) -> Result<Vec<String>> {
        let (body, key) = (json!({"messages": messages}), Uuid::now_v7().to_string());
        for _ in 0..REPEATS_MAX {
            let call = self.request(Method::POST, "/messages/bulk", Some(&body), Some(&key));
            let (status, answer) = call.await?;
            ensure!(
                status == StatusCode::ACCEPTED || status.is_server_error(),
                "{status}"
            );
            let results = answer["results"].as_array().cloned().unwrap_or_default();
            let ids = results
                .iter()
                .map(|result| result["id"].as_str().map(str::to_owned));
            if let Some(ids) = ids
                .collect::<Option<Vec<_>>>()
                .filter(|ids| !ids.is_empty())
            {
                let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
                accepted.extend(ids.iter().cloned());
                return Ok(ids);
            }
            sleep(Duration::from_millis(REPEAT_MS)).await;
        }
        bail!("not every message was accepted in {REPEATS_MAX} calls")
    }

    /// Posts to /messages/bulk once and records what was accepted; returns the status and the
    /// document.
    pub async fn post_bulk(
        &self,
        messages: &[Value],
        key: Option<&str>,
    ) -> Result<(StatusCode, Value)> {
        let body = json!({"messages": messages});
        let (status, answer) = self
            .request(Method::POST, "/messages/bulk", Some(&body), key)
            .await?;
        if status == StatusCode::ACCEPTED {
            let results = answer["results"]
                .as_array()
                .context("an answer has results")?
                .iter();
            let ids = results
                .filter_map(|result| result["id"].as_str())
                .map(str::to_owned);
            self.accepted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(ids);
        }
        Ok((status, answer))
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<(StatusCode, Value)> {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .header("X-API-Key", &self.key);
        let request = body
            .into_iter()
            .fold(request, |request, body| request.json(body));
        let request = key.into_iter().fold(request, |request, key| {
            request.header("Idempotency-Key", key)
        });
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }
}
