//! POST /reconciliations: the provider's invoice is compared with the record over HTTP.

mod invalid;
mod large;
mod verdicts;

use reqwest::StatusCode;
use serde_json::Value;
use tests::invoice::{period, reconcile};
use tests::scene::{Scene, Settings};

async fn reconcile_csv(scene: &Scene, rows: &[String]) -> Value {
    let (from, to) = period();
    let invoice = format!("batch_id,at,requests,amount\n{}\n", rows.join("\n"));
    let (status, document) = reconcile(scene, &format!("from={from}&to={to}"), "text/csv", invoice)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK, "{document}");
    document
}

fn priced() -> Settings {
    Settings {
        batch_size: 2,
        price_per_request: Some("0.05".into()),
        ..Settings::default()
    }
}
