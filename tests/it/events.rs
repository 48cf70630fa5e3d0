//! Every file in `events/` is run against the function that its name begins with.

use std::fs;

use serde_json::{Value, json};
use tests::others::Other;
use tests::scene::Settings;

use crate::support::scene;

/// What each event answers: the HTTP status and a line of its document, or for the queue the document.
fn expected(name: &str) -> Value {
    match name {
        "send" => json!([202, "status", "ACCEPTED"]),
        "send-bulk" => json!([202, "results/1/field", "recipient"]),
        "send-invalid" => json!([400, "field", "originator"]),
        "query" => json!([200, "next_cursor", null]),
        "query-unknown" => json!([404, "status", "NOT_FOUND"]),
        "query-numbers" => json!([200, "next_cursor", null]),
        "query-health" => json!([200, "status", "ok"]),
        "status-number" => json!([200, "status", "INACTIVE"]),
        "status-cancel" => json!([404, "status", "NOT_FOUND"]),
        "query-statistics" => json!([200, "to", "2026-11-21T00:00:00Z"]),
        // Its one line names a batch of another time.
        "query-reconciliation" => json!([200, "verdict", "DISAGREES"]),
        "status-unsigned" => json!([401, "field", "webhook-id"]),
        "status-messagebird-unsigned" => json!([401, "field", "MessageBird-Signature-JWT"]),
        "status-callback-forged" => json!([401, "field", "proof"]),
        "dispatch" | "dispatch-malformed" => json!({"batchItemFailures": []}),
        other => panic!("events/{other}.json has no expectation here"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_answered() {
    let others = vec![Other::messagebird("messagebird"), Other::callback("callback")];
    let scene = scene(Settings { others, ..Settings::default() }).await;
    let mut run = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../events")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let event = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let function = name.split('-').next().unwrap();
        let answer = scene.stack.invoke(function, event).await.unwrap();
        let expected = expected(&name);
        if let [status, field, value] = expected.as_array().map_or(&[][..], Vec::as_slice) {
            let document: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            let said = (&answer["statusCode"], document.pointer(&format!("/{}", field.as_str().unwrap())));
            assert_eq!(said, (status, Some(value)), "{name}: {answer}");
        } else {
            assert_eq!(answer, expected, "{name}");
        }
        run += 1;
    }
    assert!(run >= 16, "only {run} events");
    drop(scene.untold());
}
