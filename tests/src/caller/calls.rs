//! A caller's bulk posts, and its calls with other methods.

use std::sync::PoisonError;

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Caller;

impl Caller {
    /// Sends a PUT to any path; returns the status and the document.
    pub async fn put_to(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        self.request(Method::PUT, path, Some(body), None).await
    }

    /// Sends a DELETE to any path; returns the status and the document.
    pub async fn delete(&self, path: &str) -> Result<(StatusCode, Value)> {
        self.request(Method::DELETE, path, None, None).await
    }

    /// Posts to /messages/bulk and records what was accepted; returns the status and the document.
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
