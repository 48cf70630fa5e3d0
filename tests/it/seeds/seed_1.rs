//! Seed 1, the proxy.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::{self, Mishap, Outcome, Status, UpdateOptions};
use tests::scene::Settings;

use crate::support::{by_hand, look, pair, post, scene, shown, statistics, wait_for_requests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_queues_a_message_and_get_shows_each_of_the_five_statuses() {
    let scene = scene(Settings {
        batch_size: 3,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let ids = post(&scene, 0, 2, 1).await;
    assert_eq!(look(&scene, &ids[0]).await, pair("ACCEPTED", "QUEUED"));
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &ids[0]).await.0, "CONFIRMED");
    scene.fastsmsing.report(&ids[..1], Status::Delivered);
    scene.fastsmsing.report(&ids[1..], Status::Failed);
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &ids[0]).await, pair("DELIVERED", "SENT"));
    assert_eq!(look(&scene, &ids[1]).await, pair("FAILED", "SENT"));
    let never = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57";
    let (status, answer) = scene
        .shop()
        .get(&format!("/messages/{never}"))
        .await
        .unwrap();
    assert_eq!(
        (status, answer),
        (
            StatusCode::NOT_FOUND,
            json!({"id": never, "status": "NOT_FOUND"})
        )
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_given_message_already_exists_return_an_error() {
    let scene = scene(Settings::default()).await;
    let key = [("Idempotency-Key", "order-7")];
    let first: Value = scene
        .shop()
        .post_with(&message(1), &key)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let again = scene.shop().post_with(&message(1), &key).await.unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            again.headers()["idempotent-replayed"].to_str().unwrap()
        ),
        (202, "true")
    );
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    let other = scene.shop().post_with(&message(2), &key).await.unwrap();
    assert_eq!(other.status().as_u16(), 409);
    assert_eq!(
        other.json::<Value>().await.unwrap()["field"],
        "Idempotency-Key"
    );
    // The same key of another client is a different key.
    assert_eq!(
        scene
            .stall()
            .post_with(&message(2), &key)
            .await
            .unwrap()
            .status()
            .as_u16(),
        202
    );
    scene.drain().await.unwrap();
    assert_eq!(
        scene
            .fastsmsing
            .ledger()
            .iter()
            .map(|billed| billed.messages.len())
            .sum::<usize>(),
        2
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_statuses_cannot_be_overwritten() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let id = [scene.shop().send(&message(1)).await.unwrap()];
    scene.drain().await.unwrap();
    for status in [Status::Delivered, Status::Failed, Status::Confirmed] {
        scene.fastsmsing.report(&id, status);
        scene.drain().await.unwrap();
        assert_eq!(look(&scene, &id[0]).await, pair("DELIVERED", "SENT"));
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_number_of_messages_is_the_batch_size_send_a_batch() {
    // The window is the longest that is allowed, so only a full batch can go out.
    let scene = scene(Settings {
        batch_size: 10,
        window_s: 900,
        ..Settings::default()
    })
    .await;
    post(&scene, 0, 10, 1).await;
    wait_for_requests(&scene, 1).await;
    assert_eq!(scene.fastsmsing.sizes(), [10]);
    // The other nine bells would ring in a quarter of an hour and find nothing.
    drop(scene.without_audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn try_sending_each_batch_at_the_max_attempts_number_of_times() {
    let scene = scene(Settings {
        batch_size: 2,
        attempts_max: 3,
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::ServerError);
    scene.fastsmsing.misbehave(Mishap::ServerError);
    post(&scene, 0, 2, 1).await;
    scene.drain().await.unwrap();
    let outcomes: Vec<_> = scene
        .fastsmsing
        .seen()
        .iter()
        .map(|seen| seen.outcome)
        .collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Refused(500),
            Outcome::Refused(500),
            Outcome::Billed
        ],
        "after the first success there is no further request"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_batch_is_sent_or_failed_send_statistics_with_the_last_error() {
    let scene = scene(Settings {
        batch_size: 2,
        attempts_max: 2,
        ..Settings::default()
    })
    .await;
    for mishap in [Mishap::BadGateway, Mishap::ServerError] {
        scene.fastsmsing.misbehave(mishap);
    }
    post(&scene, 0, 4, 1).await;
    scene.drain().await.unwrap();
    let lines = statistics(&scene);
    let logged: Vec<_> = lines
        .iter()
        .map(|line| (&line["outcome"], &line["attempts"], &line["messages"]))
        .collect();
    assert_eq!(
        logged,
        [
            (&json!("UNKNOWN"), &json!(1), &json!(2)),
            (&json!("CONFIRMED"), &json!(2), &json!(2))
        ]
    );
    assert_eq!(
        (&lines[0]["http_status"], lines[0]["last_error"].is_string()),
        (&json!(502), true)
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_do_not_wait_until_fastsmsing_finishes_processing_the_request() {
    let scene = scene(Settings {
        batch_size: 1,
        timeout_ms: 4_000,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    // The provider never answers the first batch; the callers are answered nevertheless.
    scene.shop().send(&message(1)).await.unwrap();
    wait_for_requests(&scene, 1).await;
    let id = scene.shop().send(&message(2)).await.unwrap();
    assert_eq!(
        scene.shop().message(&id).await.unwrap()["status"],
        "ACCEPTED"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_come_in_batches_and_an_unknown_id_is_an_error_that_changes_nothing() {
    let updates = UpdateOptions {
        unknown: 3,
        ..UpdateOptions::default()
    };
    let fastsmsing = fastsmsing::Options {
        updates,
        ..Default::default()
    };
    let scene = scene(Settings {
        fastsmsing,
        ..Settings::default()
    })
    .await;
    post(&scene, 0, 20, 4).await;
    let stack = &scene.stack;
    scene.drain().await.unwrap();
    let errors = stack
        .logs()
        .into_iter()
        .filter(|line| line.function == "status" && line.text.contains("UnknownId"))
        .count();
    assert!(errors >= 3, "{errors} error lines");
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        audit.delivered(),
        20,
        "unknown ids do not stop the other updates"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_the_request_and_return_400_or_serialize_the_result_with_202() {
    let scene = scene(Settings::default()).await;
    let response = scene.shop().post(&message(1)).await.unwrap();
    assert_eq!(response.status().as_u16(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        location,
        format!("/messages/{}", answer["id"].as_str().unwrap())
    );
    assert_eq!(
        (shown(&answer), &answer["encoding"], &answer["segments"]),
        (("ACCEPTED", "QUEUED"), &json!("GSM-7"), &json!(1))
    );
    let bad = scene
        .shop()
        .post(&json!({"originator": "MB"}))
        .await
        .unwrap();
    assert_eq!(
        (
            bad.status().as_u16(),
            bad.headers()["content-type"].to_str().unwrap()
        ),
        (400, "application/problem+json")
    );
    scene.finish().await.unwrap();
}
