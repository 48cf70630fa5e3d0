//! What callers are answered when they send to an inactive number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tests::caller::message;
use tests::scene::{Scene, Settings};

use super::{answer, set};
use crate::support::scene;

/// How many items a table has.
fn count_items(scene: &Scene, table: &str) -> usize {
    let request = serde_json::from_value(json!({"TableName": table})).unwrap();
    let found = serde_json::to_value(scene.stack.dynamo.database.scan(request).unwrap()).unwrap();
    found["Items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_3_a_message_to_an_inactive_number_is_an_error_and_nothing_is_stored() {
    let scene = scene(Settings::default()).await;
    let bells = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&bells);
    scene.stack.sqs_wire.observe(move |seen| {
        counted.fetch_add(
            usize::from(seen.operation.as_deref() == Some("SendMessage")),
            Ordering::SeqCst,
        );
    });
    set(&scene, 1, "INACTIVE").await;
    for key in ["order-1", "order-1", "order-2"] {
        let (code, problem) = answer(&scene, 1, key).await;
        assert_eq!(
            (code, problem["field"].as_str()),
            (400, Some("recipient")),
            "{problem}"
        );
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("number is inactive"),
            "{problem}"
        );
    }
    assert_eq!(
        (
            count_items(&scene, "Messages"),
            count_items(&scene, "Idempotency"),
            bells.load(Ordering::SeqCst)
        ),
        (0, 0, 0)
    );
    scene.shop().send(&message(2)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.accepted, audit.delivered()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_repeat_of_a_call_that_was_accepted_is_not_refused() {
    let scene = scene(Settings {
        window_s: 2,
        ..Settings::default()
    })
    .await;
    let id = scene
        .shop()
        .post_until_accepted(&message(1), Some("order-1"))
        .await
        .unwrap();
    set(&scene, 1, "INACTIVE").await;
    let again = scene
        .shop()
        .post_with(&message(1), &[("Idempotency-Key", "order-1")])
        .await
        .unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            again.headers()["idempotent-replayed"].to_str().unwrap()
        ),
        (202, "true")
    );
    assert_eq!(again.json::<Value>().await.unwrap()["id"], id);
    assert_eq!(answer(&scene, 1, "order-2").await.0, 400);
    let mut changed = message(1);
    changed["reference"] = "changed".into();
    let conflict = scene
        .shop()
        .post_with(&changed, &[("Idempotency-Key", "order-1")])
        .await
        .unwrap();
    assert_eq!(conflict.status().as_u16(), 409);
    scene.finish().await.unwrap();
}
