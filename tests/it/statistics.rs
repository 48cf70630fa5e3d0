//! GET /statistics, and the metrics that the dispatcher logs for the same batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::id::BatchId;
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::Mishap;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;

use crate::support::{by_hand, post, put, scene, statistics};

/// Batches of the period that takes many pages.
const BATCHES: usize = 1_600;
/// Messages of each of these batches.
const MEMBERS: usize = 100;
/// The statistics read a period in slices of a quarter of a day.
const QUARTER_S: i64 = 6 * 3_600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_of_a_period_are_those_of_its_batches() {
    let price_per_request = Some("0.05".to_owned());
    let scene = scene(Settings {
        batch_size: 5,
        fastsmsing: by_hand(),
        price_per_request,
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::BadGateway);
    post(&scene, 0, 20, 1).await;
    scene.drain().await.unwrap();

    let (status, document) = scene.operator().get("/statistics").await.unwrap();
    assert_eq!(
        (status, document["providers"].as_array().unwrap().len()),
        (StatusCode::OK, 1),
        "{document}"
    );
    let figures = &document["providers"][0];
    assert_counts_and_savings(figures, &scene.fastsmsing.sizes());
    assert_last_error(figures);
    let (mean, p95) = (
        figures["mean_wait_ms"].as_u64().unwrap(),
        figures["p95_wait_ms"].as_u64().unwrap(),
    );
    assert!(mean <= p95 * 20, "{figures}");

    // A period before the first batch, and a provider without batches.
    for nothing in ["to=2026-01-02T00:00:00Z", "provider=another"] {
        assert_nothing_in(&scene, nothing).await;
    }
    scene.finish().await.unwrap();
}

/// One batch was answered with a 502; the others were billed, with these sizes.
fn assert_counts_and_savings(figures: &Value, sizes: &[usize]) {
    let (successes, messages) = (sizes.len() as u64, sizes.iter().sum::<usize>() as u64);
    let counts = [
        "requests",
        "attempts",
        "successes",
        "failures",
        "unknown",
        "messages",
    ];
    let counted = counts.map(|name| figures[name].as_u64().unwrap());
    assert_eq!(
        counted,
        [successes + 1, successes + 1, successes, 0, 1, messages],
        "{figures}"
    );
    let percentage = (10_000.0 * successes as f64 / (successes + 1) as f64).round() / 100.0;
    assert_eq!(figures["success_percentage"], json!(percentage));
    let saved = messages - successes;
    assert_eq!(figures["requests_saved"], json!(saved));
    assert_eq!(
        figures["money_saved"],
        format!("{}.{:02}", saved * 5 / 100, saved * 5 % 100)
    );
}

fn assert_last_error(figures: &Value) {
    let last_error = &figures["last_error"];
    assert_eq!(
        (&last_error["http_status"], last_error["error"].is_string()),
        (&json!(502), true)
    );
    assert!(
        last_error["at"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .is_ok()
    );
}

/// Without requests, percentages and means are null and not 0.
async fn assert_nothing_in(scene: &Scene, parameters: &str) {
    let (status, document) = scene
        .operator()
        .get(&format!("/statistics?{parameters}"))
        .await
        .unwrap();
    let figures = &document["providers"][0];
    assert_eq!(
        (status, &figures["requests"], &figures["last_error"]),
        (StatusCode::OK, &json!(0), &Value::Null)
    );
    for none in [
        "success_percentage",
        "sms_per_request",
        "mean_wait_ms",
        "p95_wait_ms",
    ] {
        assert_eq!(figures[none], Value::Null, "{document}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_in_the_dispatcher_s_lines_add_up_to_the_same_figures() {
    let scene = scene(Settings {
        batch_size: 4,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::ResetAfterAccepting);
    post(&scene, 0, 12, 1).await;
    scene.drain().await.unwrap();
    let mut sums = BTreeMap::<String, i64>::new();
    for line in statistics(&scene) {
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(
            (&declared["Namespace"], &declared["Dimensions"]),
            (&json!("SmsProxy"), &json!([["Provider"]]))
        );
        assert!(
            line["_aws"]["Timestamp"].is_i64() && line["Provider"] == "fastsmsing",
            "{line}"
        );
        for metric in declared["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap().to_owned();
            let unit = if name.ends_with("Ms") {
                "Milliseconds"
            } else {
                "Count"
            };
            assert_eq!(metric["Unit"], unit);
            *sums.entry(name.clone()).or_default() += line[&name].as_i64().unwrap();
        }
    }
    let (_, document) = scene.operator().get("/statistics").await.unwrap();
    let figures = &document["providers"][0];
    for name in ["Requests", "Attempts", "Successes", "Failures", "Unknown"] {
        assert_eq!(
            json!(sums[name]),
            figures[name.to_lowercase()],
            "{name}: {sums:?} {figures}"
        );
    }
    assert_eq!(
        (sums["Messages"], sums["Unknown"]),
        (12, 1),
        "the messages of all batches, whatever their outcome"
    );
    assert!(
        sums.contains_key("OldestWaitMs") && sums.contains_key("TookMs"),
        "{sums:?}"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_parameter_is_refused_with_its_field() {
    let scene = scene(Settings::default()).await;
    let wrong = [
        ("from=yesterday", "from"),
        ("from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:01Z", "from"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "from"),
        ("limit=5", "limit"),
        ("provider=", "provider"),
    ];
    for (query, field) in wrong {
        let (status, problem) = scene
            .operator()
            .get(&format!("/statistics?{query}"))
            .await
            .unwrap();
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::BAD_REQUEST, &json!(field)),
            "{query}: {problem}"
        );
    }
    let (status, problem) = scene.shop().get("/statistics").await.unwrap();
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::FORBIDDEN, &json!("X-API-Key"))
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_period_that_takes_too_long_to_read_is_refused_and_never_answered_in_part() {
    // The reserve takes all of the time, so the time is up after the first page.
    let scene = scene(Settings {
        query_timeout_s: Some(7),
        ..Settings::default()
    })
    .await;
    scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let (status, problem) = scene.operator().get("/statistics").await.unwrap();
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::BAD_REQUEST, &json!("from")),
        "{problem}"
    );
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("ask for parts of it"),
        "{problem}"
    );
    scene.finish().await.unwrap();
}

/// Writes one of the many batches of the last 60 hours.
///
/// Each takes 4 KB, and half of them were made in one hour in the middle of a quarter of a day, so
/// that one slice of the period has several pages of 1 MB.
fn put_rejected_batch(scene: &Scene, now: Timestamp, n: usize) {
    let into_quarter_s = (now.as_second() % QUARTER_S) as usize;
    let age_s = if n.is_multiple_of(2) {
        into_quarter_s + 7_200 + 3_600 * n / BATCHES
    } else {
        216_000 * n / BATCHES
    };
    let id = BatchId::new(
        now - SignedDuration::from_secs(1 + age_s as i64),
        [n as u8; 10],
    );
    let members = vec![json!({"S": record::clock::message_id()}); MEMBERS];
    let item = json!({
        "provider_day": {"S": format!("fastsmsing#{}", id.day())}, "id": {"S": id},
        "provider": {"S": "fastsmsing"}, "state": {"S": "REJECTED"}, "members": {"L": members},
        "attempts": {"N": "1"}, "owner": {"S": ""}, "deadline": {"N": "0"},
        "updated_at": {"N": n.to_string()}, "http_status": {"N": "500"}
    });
    put(&scene.stack.dynamo.database, "Batches", &item);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_period_of_many_pages_and_days_is_read_completely() {
    let scene = scene(Settings {
        record_days: 4,
        ..Settings::default()
    })
    .await;
    let now = record::clock::now();
    let earliest = now - SignedDuration::from_hours(60);
    for n in 0..BATCHES {
        put_rejected_batch(&scene, now, n);
    }
    let queries = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&queries);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        counter.fetch_add(
            usize::from(seen.operation.as_deref() == Some("Query")),
            Ordering::SeqCst,
        );
        Fault::Pass
    });
    let (status, document) = scene
        .operator()
        .get(&format!("/statistics?from={earliest}&to={now}"))
        .await
        .unwrap();
    let figures = &document["providers"][0];
    assert_eq!(
        (status, figures["failures"].as_u64()),
        (StatusCode::OK, Some(BATCHES as u64)),
        "{document}"
    );
    assert_eq!(figures["success_percentage"], json!(0.0));
    // 60 hours touch at most eleven quarters of a day.
    let (queries, slices) = (queries.load(Ordering::SeqCst), 11);
    assert!(
        queries > slices + 2,
        "{queries} queries: some slice has to have several pages"
    );
    scene.finish().await.unwrap();
}
