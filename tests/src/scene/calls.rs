//! Calls beyond POST and GET.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Caller;

impl Caller {
    /// PUT any path; the status and the document.
    pub async fn put_to(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        self.call(Method::PUT, path, Some(body), None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<(StatusCode, Value)> {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("X-API-Key", &self.key);
        let request = body.into_iter().fold(request, |request, body| request.json(body));
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }
}
