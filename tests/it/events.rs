//! Every file in `events/` is sent to the function that its name begins with.

use std::fs;

use serde_json::{Value, json};
use tests::providers::ExtraProvider;
use tests::scene::Settings;

use crate::support::scene;

/// The expected answer: the HTTP status and a field of the document, or the whole document for an
/// event of the queue.
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
        // Its only line names a batch of another year.
        "query-reconciliation" => json!([200, "verdict", "DISAGREES"]),
        "status-unsigned" => json!([401, "field", "webhook-id"]),
        "status-messagebird-unsigned" => json!([401, "field", "MessageBird-Signature-JWT"]),
        "status-callback-forged" => json!([401, "field", "token"]),
        "dispatch" | "dispatch-malformed" => json!({"batchItemFailures": []}),
        other => panic!("events/{other}.json has no expectation here"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_answered() {
    let extra_providers = vec![
        ExtraProvider::messagebird("messagebird"),
        ExtraProvider::callback("callback"),
    ];
    let scene = scene(Settings {
        extra_providers,
        ..Settings::default()
    })
    .await;
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
            let answered = (
                &answer["statusCode"],
                document.pointer(&format!("/{}", field.as_str().unwrap())),
            );
            assert_eq!(answered, (status, Some(value)), "{name}: {answer}");
        } else {
            assert_eq!(answer, expected, "{name}");
        }
        run += 1;
    }
    assert!(run >= 16, "there are only {run} events");
    drop(scene.without_audit());
}
