//! Inactive numbers: no message is sent to them, and an operator's decision outranks every report
//! about an older message.

mod operators;
mod reports;
mod sending;

use serde_json::{Value, json};
use tests::caller::message;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;

use crate::support::{body_holds, by_hand, scene};

/// An error of DynamoDB that quotes the number.
const NUMBER_IN_AN_ERROR: &str =
    r#"{"__type": "ValidationException", "message": "not a key: 31600000001"}"#;

/// The path of the number that `message(n)` is for.
fn path(n: usize) -> String {
    format!("/numbers/+{}", 31_600_000_000_u64 + n as u64)
}

async fn set(scene: &Scene, n: usize, status: &str) -> Value {
    let (code, number) = scene
        .operator()
        .put_to(&path(n), &json!({"status": status}))
        .await
        .unwrap();
    assert_eq!(
        (code.as_u16(), number["status"].as_str()),
        (200, Some(status)),
        "{number}"
    );
    number
}

/// What the record holds about the number, or null.
async fn known(scene: &Scene, n: usize) -> Value {
    let (code, number) = scene.operator().get(&path(n)).await.unwrap();
    if code == 404 { Value::Null } else { number }
}

async fn report(scene: &Scene, body: &Value) -> Vec<Value> {
    let (code, answer) = scene.report(body.to_string().into_bytes()).await.unwrap();
    assert_eq!(code.as_u16(), 200, "{answer}");
    answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["result"].clone())
        .collect()
}

/// Posts a message to the number; returns the status and the document.
async fn answer(scene: &Scene, n: usize, key: &str) -> (u16, Value) {
    let response = scene
        .shop()
        .post_with(&message(n), &[("Idempotency-Key", key)])
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Neither faults nor refusals bring a number or a text into the logs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_and_no_text_is_in_any_log_line() {
    let scene = scene(Settings {
        batch_size: 5,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let bulk: Vec<_> = (0..10)
        .map(message)
        .chain([json!({"recipient": "CANARY", "originator": "MB"})])
        .collect();
    let (_, answer) = scene
        .shop()
        .post_bulk(&bulk, Some("CANARY-key"))
        .await
        .unwrap();
    scene.drain().await.unwrap();
    for result in answer["results"].as_array().unwrap().iter().take(5) {
        report(&scene, &json!({result["id"].as_str().unwrap(): "invalid"})).await;
    }
    for rule in [
        Fault::Pass,
        Fault::CutBody,
        Fault::Status(400, NUMBER_IN_AN_ERROR.to_owned()),
    ] {
        scene
            .stack
            .dynamo_wire
            .set_rule(move |seen| match body_holds(seen, "Numbers") {
                true => rule.clone(),
                false => Fault::Pass,
            });
        scene.shop().post_bulk(&bulk, None).await.unwrap();
        scene.shop().post(&message(1)).await.unwrap();
        scene
            .operator()
            .put_to(&path(1), &json!({"status": "ACTIVE"}))
            .await
            .unwrap();
        scene.operator().get(&path(1)).await.unwrap();
        scene.operator().get("/numbers?limit=2").await.unwrap();
        scene.operator().get("/numbers/CANARY").await.unwrap();
    }
    scene.stack.dynamo_wire.clear_rule();
    let lines = scene.stack.logs();
    assert!(lines.len() > 20, "there are only {} lines", lines.len());
    for line in &lines {
        let found = ["31600000", "on its way", "CANARY"]
            .into_iter()
            .find(|canary| line.text.contains(canary));
        assert_eq!(found, None, "{}: {}", line.function, line.text);
    }
    drop(scene.without_audit());
}
