//! POST /reconciliations: the provider's invoice against the record, through the front door.

use std::fs;

use jiff::SignedDuration;
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::id::BatchId;
use tests::fastsmsing::{Mishap, Options};
use tests::invoice::{fetch, period, reconcile, reconcile_each, reconcile_own};
use tests::others::Other;
use tests::scene::{Scene, Settings};

use crate::support::{by_hand, post, scene};

/// The kinds of difference that make a verdict, with what is found of each.
fn errors(document: &Value) -> Vec<(&'static str, u64)> {
    let kinds = [
        "billed_not_recorded",
        "recorded_not_billed",
        "billed_though_not_sent",
        "duplicate_lines",
        "wrong_requests",
        "wrong_amounts",
        "outside_the_period",
        "of_another_period",
    ];
    let found = kinds.map(|kind| (kind, document[kind]["count"].as_u64().unwrap()));
    found.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The invoice of a scene as a spreadsheet would have it, at 0.05 a request.
async fn csv(scene: &Scene) -> Vec<String> {
    let lines = fetch(scene, period()).await.unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| format!("{},{},1,0.05", line["batch_id"].as_str().unwrap(), line["at"].as_str().unwrap()))
        .collect()
}

async fn reconcile_csv(scene: &Scene, rows: &[String]) -> Value {
    let (from, to) = period();
    let invoice = format!("batch_id,at,requests,amount\n{}\n", rows.join("\n"));
    let (status, document) = reconcile(scene, &format!("from={from}&to={to}"), "text/csv", invoice).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{document}");
    document
}

fn priced() -> Settings {
    Settings { batch_size: 2, price_per_request: Some("0.05".into()), ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_invoice_agrees_and_an_unconfirmed_batch_explains_its_line() {
    let scene = scene(Settings { fastsmsing: by_hand(), ..priced() }).await;
    scene.fastsmsing.misbehave(Mishap::ResetAfterAccepting);
    scene.fastsmsing.misbehave(Mishap::BadGateway);
    post(&scene, 0, 12, 1).await;
    scene.drain().await.unwrap();
    let billed = scene.fastsmsing.billed_requests() as u64;

    let own = reconcile_own(&scene).await.unwrap();
    for document in [own, reconcile_csv(&scene, &csv(&scene).await).await] {
        assert_eq!((&document["verdict"], errors(&document)), (&json!("AGREES"), Vec::new()), "{document}");
        assert_eq!(document["matched"], json!(billed - 1));
        assert_eq!(document["explained_by_unconfirmed"]["count"], 1);
        assert!(document["explained_by_unconfirmed"]["examples"][0]["batch_id"].is_string(), "{document}");
        assert_eq!(document["unconfirmed_not_billed"]["count"], 1, "what the 502 left in doubt was not taken");
        let bound = json!({"at_least": billed - 1, "billed": billed, "at_most": billed + 1, "holds": true});
        assert_eq!(document["bound"], bound);
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_too_many_one_too_few_a_wrong_amount_and_a_duplicate_are_told_apart() {
    let scene = scene(priced()).await;
    post(&scene, 0, 12, 1).await;
    scene.drain().await.unwrap();
    let mut rows = csv(&scene).await;
    let id = |row: &str| row.split(',').next().unwrap().to_owned();
    let (missing, wrong, twice) = (id(&rows[0]), id(&rows[1]), id(&rows[2]));
    let stranger = shared::clock::batch_id().to_string();
    rows.push(rows[0].replace(&missing, &stranger));
    rows.push(rows[2].clone());
    rows[1] = rows[1].replace("0.05", "0.06");
    rows.remove(0);

    let document = reconcile_csv(&scene, &rows).await;
    assert_eq!(document["verdict"], "DISAGREES");
    let expected = ["billed_not_recorded", "recorded_not_billed", "duplicate_lines", "wrong_amounts"];
    assert_eq!(errors(&document), expected.map(|kind| (kind, 1)), "{document}");
    let example = |kind: &str| document[kind]["examples"][0]["batch_id"].as_str().unwrap().to_owned();
    assert_eq!(expected.map(example), [stranger, missing, twice, wrong]);
    let amounts = &document["wrong_amounts"]["examples"][0];
    assert_eq!((&amounts["amount"], &amounts["expected_amount"]), (&json!("0.06"), &json!("0.05")), "{amounts}");
    assert_eq!(document["bound"]["holds"], false, "one billed request more than there were");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_provider_s_invoice_agrees_with_its_part_of_the_record() {
    let others = vec![Other { batch_size: 2, ..Other::fastsmsing("backup") }];
    let scene = scene(Settings { others, ..priced() }).await;
    post(&scene, 0, 12, 1).await;
    scene.drain().await.unwrap();
    let documents = reconcile_each(&scene).await.unwrap();
    let of =
        |document: &Value| (document["provider"].clone(), document["verdict"].clone(), document["matched"].clone());
    let billed: Vec<_> = scene.fastsmsings().map(|one| (one.name(), one.billed_requests())).collect();
    let expected = billed.iter().map(|(name, billed)| (json!(name), json!("AGREES"), json!(billed)));
    assert_eq!(documents.iter().map(of).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert!(billed.iter().all(|(_, billed)| *billed > 0), "{billed:?}");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_the_provider_s_own_in_our_column_hide_no_request_id() {
    let scene = scene(priced()).await;
    post(&scene, 0, 6, 1).await;
    scene.drain().await.unwrap();
    let invoice = fetch(&scene, period()).await.unwrap();
    let theirs = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["batch_id"] = json!(shared::clock::batch_id());
        line.to_string()
    };
    let invoice: Vec<_> = invoice.lines().map(theirs).collect();
    let (from, to) = period();
    let (status, document) =
        reconcile(&scene, &format!("from={from}&to={to}"), "application/x-ndjson", invoice.join("\n")).await.unwrap();
    assert_eq!((status, &document["verdict"]), (StatusCode::OK, &json!("AGREES")), "{document}");
    assert_eq!(document["matched"], json!(scene.fastsmsing.billed_requests()));
    scene.finish().await.unwrap();
}

/// A batch that was repeated under its key may be billed for as long as the key lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_is_read_as_far_back_as_the_provider_s_key_lives() {
    for (key_lifetime_s, expected) in [(0, "of_another_period"), (3_600, "billed_not_recorded")] {
        let fastsmsing = Options { key_lifetime_s, ..Options::default() };
        let scene = scene(Settings { fastsmsing, ..priced() }).await;
        let began = period().0 - SignedDuration::from_mins(20);
        let stranger = BatchId::new(began, [7; 10]);
        let document = reconcile_csv(&scene, &[format!("{stranger},{},1,0.05", shared::clock::now())]).await;
        assert_eq!(errors(&document), [(expected, 1)], "{document}");
        scene.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_that_is_billed_all_the_same_is_found() {
    let scene = scene(Settings { batch_size: 1, ..priced() }).await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    post(&scene, 0, 1, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(reconcile_own(&scene).await.unwrap()["verdict"], "AGREES");
    let (_, page) = scene.operator().get("/batches?state=REJECTED").await.unwrap();
    let refused: BatchId = page["batches"][0]["id"].as_str().unwrap().parse().unwrap();
    let document = reconcile_csv(&scene, &[format!("{refused},{},2,0.10", refused.created_at())]).await;
    assert_eq!(errors(&document), [("billed_though_not_sent", 1), ("wrong_requests", 1)], "{document}");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_invoice_is_told_by_line_and_field() {
    let scene = scene(Settings { others: vec![Other::fastsmsing("backup")], ..Settings::default() }).await;
    let day = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";
    let ours = format!("provider=fastsmsing&{day}");
    let line = r#"{"batch_id":"b","at":"2026-01-01T12:00:00Z"}"#;
    let (json_lines, csv) = ("application/x-ndjson", "text/csv; charset=utf-8");
    let wrong = [
        (day, json_lines, line.to_owned(), 400, "provider", "fastsmsing or backup"),
        ("provider=fastsmsing", json_lines, line.to_owned(), 400, "to", ""),
        (&ours, "application/pdf", line.to_owned(), 415, "Content-Type", "text/csv"),
        (&ours, "application/json", format!("{line}\n{{}}"), 400, "batch_id", "Line 2"),
        (&ours, json_lines, format!("{line}\n\n{}", line.replace("2026-01", "soon")), 400, "at", "Line 3"),
        (&ours, csv, "batch_id,at,amount\nb,2026-01-01T12:00:00Z,5 EUR".to_owned(), 400, "amount", "Line 2"),
        (&ours, csv, "batch;at\n".to_owned(), 400, "batch_id", "Line 1"),
    ];
    for (parameters, content_type, invoice, expected, field, said) in wrong {
        let (status, problem) = reconcile(&scene, parameters, content_type, invoice).await.unwrap();
        assert_eq!((status.as_u16(), &problem["field"]), (expected, &json!(field)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let (status, _) = scene.shop().post_to("/reconciliations", &json!({})).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, document) = reconcile(&scene, &ours, csv, "batch_id,time\n").await.unwrap();
    assert_eq!((status, &document["verdict"]), (StatusCode::OK, &json!("AGREES")), "nothing sent, nothing billed");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a day of one request a second in one call, for the memory that it takes"]
async fn an_invoice_of_86_400_lines_fits_through_the_front_door() {
    let scene = scene(Settings { query_timeout_s: Some(600), ..priced() }).await;
    let (from, to) = period();
    let rows: String =
        (0..86_400).map(|_| format!("{},{},1\n", shared::clock::batch_id(), shared::clock::now())).collect();
    let invoice = format!("batch_id,at,requests\n{rows}");
    let size_kb = invoice.len() / 1_000;
    let (status, document) = reconcile(&scene, &format!("from={from}&to={to}"), "text/csv", invoice).await.unwrap();
    assert_eq!((status, &document["billed_not_recorded"]["count"]), (StatusCode::OK, &json!(86_400)));
    let status_files =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("status")).ok());
    let parent = format!("PPid:\t{}\n", std::process::id());
    let peaks: Vec<_> = status_files
        .filter(|status| status.starts_with("Name:\tquery\n") && status.contains(&parent))
        .filter_map(|status| status.lines().find(|line| line.starts_with("VmHWM")).map(str::to_owned))
        .collect();
    eprintln!("an invoice of {size_kb} KB; the query function: {peaks:?}");
    scene.finish().await.unwrap();
}
