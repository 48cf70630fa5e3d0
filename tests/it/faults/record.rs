//! The record or the queue fails, before and after the provider call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tests::caller::message;
use tests::fastsmsing::Status;
use tests::scene::Settings;
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{Limit, by_hand, look, pair, post, scene, short_lived, wait_for_requests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_failing_before_the_provider_call_sends_nothing_and_loses_nothing() {
    let scene = scene(Settings {
        batch_size: 5,
        visibility_timeout_s: Some(2),
        ..Settings::default()
    })
    .await;
    // Every write of an intent fails: in turn, the request or the answer is lost.
    let puts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&puts);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let intent = seen.operation.as_deref() == Some("PutItem")
            && String::from_utf8_lossy(&seen.body).contains("STARTED");
        match intent.then(|| counted.fetch_add(1, Ordering::SeqCst)) {
            None => Fault::Pass,
            Some(n) if n % 2 == 0 => Fault::DropRequest,
            Some(_) => Fault::DropAnswer,
        }
    });
    post(&scene, 0, 5, 1).await;
    let limit = Limit::of("six writes of an intent");
    while puts.load(Ordering::SeqCst) < 6 {
        limit.check();
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        scene.fastsmsing.seen().len(),
        0,
        "nothing is sent before its intent is written"
    );
    scene.stack.dynamo_wire.clear_rule();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (5, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_failing_after_the_provider_call_never_sends_again() {
    let scene = scene(Settings {
        batch_size: 5,
        fastsmsing: by_hand(),
        ..short_lived()
    })
    .await;
    // After the provider has answered, no batch can be settled.
    scene.stack.dynamo_wire.set_rule(|seen| {
        let body = String::from_utf8_lossy(&seen.body);
        let settles =
            seen.operation.as_deref() == Some("UpdateItem") && body.contains("\"Batches\"");
        if settles {
            Fault::DropRequest
        } else {
            Fault::Pass
        }
    });
    let ids = post(&scene, 0, 5, 1).await;
    wait_for_requests(&scene, 1).await;
    assert_eq!(look(&scene, &ids[0]).await, pair("ACCEPTED", "SENDING"));
    // Another batch does not include them.
    post(&scene, 5, 10, 1).await;
    wait_for_requests(&scene, 2).await;
    scene.stack.dynamo_wire.clear_rule();
    // The bells come back until the dispatchers are past their deadline. Then the batches become
    // UNKNOWN.
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, pair("ACCEPTED", "UNCONFIRMED"));
    }
    scene.fastsmsing.report(&ids[..1], Status::Confirmed);
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, pair("CONFIRMED", "SENT"));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.provider_requests), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_the_record_are_recognised_as_our_own_writes() {
    let scene = scene(Settings {
        batch_size: 10,
        visibility_timeout_s: Some(2),
        ..Settings::default()
    })
    .await;
    // Every other request is carried out and its answer lost; the SDK repeats it once.
    let count = AtomicUsize::new(0);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let first = seen.headers["amz-sdk-request"]
            .to_str()
            .unwrap()
            .starts_with("attempt=1");
        match first && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            true => Fault::DropAnswer,
            false => Fault::Pass,
        }
    });
    post(&scene, 0, 60, 4).await;
    scene.drain().await.unwrap();
    scene.stack.dynamo_wire.clear_rule();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (60, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_failing_on_post_is_a_503_and_nothing_is_sent() {
    let scene = scene(Settings::default()).await;
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match seen.operation.as_deref() {
            Some("PutItem") => Fault::Status(
                500,
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#.into(),
            ),
            _ => Fault::Pass,
        });
    let response = scene
        .shop()
        .post_with(&message(1), &[("Idempotency-Key", "order-1")])
        .await
        .unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "5")
    );
    scene.drain().await.unwrap();
    assert_eq!(scene.fastsmsing.seen().len(), 0);

    scene.stack.dynamo_wire.clear_rule();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let response = scene
            .shop()
            .post_with(&message(1), &[("Idempotency-Key", "order-1")])
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 202);
        answers.push(response.json::<Value>().await.unwrap()["id"].clone());
    }
    assert_eq!(
        answers[0], answers[1],
        "a repeat with the same key makes no second message"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_failing_on_post_is_a_202_and_another_bell_sends_the_message() {
    let scene = scene(Settings::default()).await;
    scene.stack.sqs_wire.set_rule(|_| Fault::DropRequest);
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.stack.sqs_wire.clear_rule();
    assert_eq!(look(&scene, &id).await, pair("ACCEPTED", "QUEUED"));
    scene.shop().send(&message(2)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (2, 1));
}
