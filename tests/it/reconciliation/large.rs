//! The largest invoice that one request has to carry.

use std::fs;

use reqwest::StatusCode;
use serde_json::json;
use tests::invoice::{period, reconcile};
use tests::scene::Settings;

use super::priced;
use crate::support::scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints how much memory the invoice of a whole day needs"]
async fn an_invoice_of_86_400_lines_is_accepted() {
    let scene = scene(Settings {
        query_timeout_s: Some(600),
        ..priced()
    })
    .await;
    let (from, to) = period();
    let rows: String = (0..86_400)
        .map(|_| format!("{},{},1\n", record::clock::batch_id(), record::clock::now()))
        .collect();
    let invoice = format!("batch_id,at,requests\n{rows}");
    let size_kb = invoice.len() / 1_000;
    let (status, document) =
        reconcile(&scene, &format!("from={from}&to={to}"), "text/csv", invoice)
            .await
            .unwrap();
    assert_eq!(
        (status, &document["billed_not_recorded"]["count"]),
        (StatusCode::OK, &json!(86_400))
    );
    let status_files = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("status")).ok());
    let parent = format!("PPid:\t{}\n", std::process::id());
    let peaks: Vec<_> = status_files
        .filter(|status| status.starts_with("Name:\tquery\n") && status.contains(&parent))
        .filter_map(|status| {
            status
                .lines()
                .find(|line| line.starts_with("VmHWM"))
                .map(str::to_owned)
        })
        .collect();
    eprintln!("an invoice of {size_kb} KB; peak memory of the query function: {peaks:?}");
    scene.finish().await.unwrap();
}
