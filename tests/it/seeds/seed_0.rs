//! Seed 0, the record.

use reqwest::StatusCode;
use serde_json::json;
use tests::caller::message;
use tests::fastsmsing::Mishap;
use tests::scene::Settings;
use tests::wire::Fault;

use crate::support::{by_hand, look, pair, post, scene, shown};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_provider_returns_a_200_ok_that_should_be_recorded() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, pair("CONFIRMED", "SENT"));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_provider_returns_an_error_the_record_shows_that_the_message_was_not_sent() {
    let scene = scene(Settings {
        batch_size: 1,
        attempts_max: 1,
        ..Settings::default()
    })
    .await;
    for _ in 0..3 {
        scene.fastsmsing.misbehave(Mishap::ServerError);
    }
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let message = scene.shop().message(&id).await.unwrap();
    assert_eq!(
        (shown(&message), message["reason"].as_str()),
        (("FAILED", "NOT_SENT"), Some("PROVIDER_ERROR"))
    );
    assert_eq!(scene.fastsmsing.billed_requests(), 0);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_provider_timed_out_the_message_is_recorded_as_sent_but_not_confirmed() {
    let scene = scene(Settings {
        batch_size: 1,
        timeout_ms: 1_500,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, pair("ACCEPTED", "UNCONFIRMED"));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.unknown_batches), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_checking_the_record_is_not_as_important_as_an_error_in_sending() {
    let scene = scene(Settings::default()).await;
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match seen.operation.as_deref() {
            Some("GetItem") => Fault::DropRequest,
            _ => Fault::Pass,
        });
    let id = scene.shop().send(&message(1)).await.unwrap();
    let (status, problem) = scene.shop().get(&format!("/messages/{id}")).await.unwrap();
    assert_eq!(
        (status, &problem["status"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!(503))
    );
    scene.drain().await.unwrap();
    assert_eq!(
        scene.fastsmsing.billed_requests(),
        1,
        "a failing read does not stop the sending"
    );
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(look(&scene, &id).await, pair("DELIVERED", "SENT"));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_messages_will_return_all_the_messages() {
    let scene = scene(Settings::default()).await;
    let mut ids = post(&scene, 0, 30, 3).await;
    let listed = scene.shop().list(1_000).await.unwrap();
    let mut listed: Vec<_> = listed
        .iter()
        .map(|message| message["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    listed.sort();
    assert_eq!(listed, ids);
    scene.finish().await.unwrap();
}
