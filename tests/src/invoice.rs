//! Fetches a provider's invoice and has the proxy reconcile it with the record, as an operator does
//! every month.

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::caller::http;
use crate::fastsmsing::FastSmsing;
use crate::scene::Scene;

/// A period that contains everything that a scene has sent, far from its edges, so that no batch is
/// on another invoice.
pub fn period() -> (Timestamp, Timestamp) {
    let (now, around) = (Timestamp::now(), SignedDuration::from_mins(30));
    (now - around, now + around)
}

/// Fetches FastSMSing's invoice of a period, as JSON lines.
pub async fn fetch(scene: &Scene, period: (Timestamp, Timestamp)) -> Result<String> {
    fetch_from(&scene.fastsmsing, period).await
}

async fn fetch_from(provider: &FastSmsing, (from, to): (Timestamp, Timestamp)) -> Result<String> {
    let url = format!("{}/invoice?from={from}&to={to}", provider.url());
    let response = http()?
        .get(url)
        .bearer_auth(provider.token())
        .send()
        .await?;
    ensure!(
        response.status() == StatusCode::OK,
        "no invoice: {}",
        response.status()
    );
    Ok(response.text().await?)
}

/// Posts an invoice to /reconciliations as an operator; returns the status and the document.
pub async fn reconcile(
    scene: &Scene,
    parameters: &str,
    content_type: &str,
    invoice: impl Into<String>,
) -> Result<(StatusCode, Value)> {
    let url = format!("{}/reconciliations?{parameters}", scene.operator().url);
    let request = http()?
        .post(url)
        .header("X-API-Key", &scene.operator().key)
        .header(CONTENT_TYPE, content_type);
    let response = request.body(invoice.into()).send().await?;
    Ok((response.status(), response.json().await?))
}

/// Reconciles FastSMSing's own invoice of everything that the scene has sent; returns the document.
pub async fn reconcile_own(scene: &Scene) -> Result<Value> {
    reconcile_own_of(scene, &scene.fastsmsing).await
}

/// The same for each provider that uses FastSMSing's protocol.
pub async fn reconcile_each(scene: &Scene) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for provider in scene.fastsmsings() {
        documents.push(reconcile_own_of(scene, provider).await?);
    }
    Ok(documents)
}

async fn reconcile_own_of(scene: &Scene, provider: &FastSmsing) -> Result<Value> {
    let (from, to) = period();
    let invoice = fetch_from(provider, (from, to)).await?;
    let parameters = format!("provider={}&from={from}&to={to}", provider.name());
    let (status, document) = reconcile(scene, &parameters, "application/x-ndjson", invoice).await?;
    ensure!(status == StatusCode::OK, "{status}: {document}");
    Ok(document)
}
