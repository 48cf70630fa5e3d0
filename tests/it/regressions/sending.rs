//! Regressions of accepting and sending: bells, attempts and repeated calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use tests::caller::message;
use tests::fastsmsing::Mishap;
use tests::scene::Settings;
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{post, scene, short_lived};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_error_answers_count_against_a_message() {
    let scene = scene(Settings {
        batch_size: 4,
        attempts_max: 1,
        ..Settings::default()
    })
    .await;
    let pause = || Mishap::TooMany { retry_after_s: 1 };
    for mishap in [pause(), pause(), Mishap::RefuseBatch, Mishap::ServerError] {
        scene.fastsmsing.misbehave(mishap);
    }
    post(&scene, 0, 4, 1).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 4, "{audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_counted_and_never_made_leaves_no_unknown_batch() {
    let scene = scene(Settings {
        batch_size: 5,
        ..short_lived()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::ServerError);
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lost);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let body = String::from_utf8_lossy(&seen.body);
        let again =
            seen.operation.as_deref() == Some("UpdateItem") && body.contains("#attempts = :next");
        match again && counted.fetch_add(1, Ordering::SeqCst) < 3 {
            true => Fault::DropAnswer,
            false => Fault::Pass,
        }
    });
    post(&scene, 0, 5, 1).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!(lost.load(Ordering::SeqCst).min(3), 3);
    assert_eq!(
        (
            audit.delivered(),
            audit.unknown_batches,
            audit.provider_requests
        ),
        (5, 0, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_without_delay_does_not_ring_before_the_record_has_the_message() {
    let scene = scene(Settings {
        window_s: 0,
        ..Settings::default()
    })
    .await;
    scene.stack.dynamo_wire.set_rule(|seen| {
        let accepts = seen.operation.as_deref() == Some("PutItem")
            && String::from_utf8_lossy(&seen.body).contains("ACCEPTED");
        if accepts {
            Fault::DelayMs(1_500)
        } else {
            Fault::Pass
        }
    });
    scene.shop().send(&message(1)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_after_the_validity_has_passed_returns_the_accepted_message() {
    let scene = scene(Settings::default()).await;
    let mut short = message(1);
    short["valid_until"] = (jiff::Timestamp::now() + SignedDuration::from_millis(2_500))
        .to_string()
        .into();
    let key = [("Idempotency-Key", "order-9")];
    let first: Value = scene
        .shop()
        .post_with(&short, &key)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    scene.drain().await.unwrap();
    loop {
        let answer = scene.shop().post(&short).await.unwrap();
        if answer.status().as_u16() == 400 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let again = scene.shop().post_with(&short, &key).await.unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            again.headers()["idempotent-replayed"].to_str().unwrap()
        ),
        (202, "true")
    );
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    scene.finish().await.unwrap();
}
