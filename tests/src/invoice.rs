//! The end of the month, as an operator has it: the provider's invoice is fetched, and held against the record.

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::caller::http;
use crate::scene::Scene;

/// A period in which everything lies that a scene has sent, far from its edges: no batch may stand on another invoice.
pub fn period() -> (Timestamp, Timestamp) {
    let (now, around) = (Timestamp::now(), SignedDuration::from_mins(30));
    (now - around, now + around)
}

/// FastSMSing's invoice of a period, as JSON lines.
pub async fn fetch(scene: &Scene, (from, to): (Timestamp, Timestamp)) -> Result<String> {
    let url = format!("{}/invoice?from={from}&to={to}", scene.fastsmsing.url());
    let response = http()?.get(url).bearer_auth(scene.fastsmsing.token()).send().await?;
    ensure!(response.status() == StatusCode::OK, "no invoice: {}", response.status());
    Ok(response.text().await?)
}

/// POST /reconciliations by an operator; the status and the document.
pub async fn reconcile(
    scene: &Scene,
    parameters: &str,
    content_type: &str,
    invoice: impl Into<String>,
) -> Result<(StatusCode, Value)> {
    let url = format!("{}/reconciliations?{parameters}", scene.operator().url);
    let request = http()?.post(url).header("X-API-Key", &scene.operator().key).header(CONTENT_TYPE, content_type);
    let response = request.body(invoice.into()).send().await?;
    Ok((response.status(), response.json().await?))
}

/// The provider's own invoice of all that the scene has sent, held against the record.
pub async fn reconcile_own(scene: &Scene) -> Result<Value> {
    let (from, to) = period();
    let invoice = fetch(scene, (from, to)).await?;
    let parameters = format!("provider=fastsmsing&from={from}&to={to}");
    let (status, document) = reconcile(scene, &parameters, "application/x-ndjson", invoice).await?;
    ensure!(status == StatusCode::OK, "{status}: {document}");
    Ok(document)
}
