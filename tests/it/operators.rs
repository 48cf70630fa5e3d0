//! What operators see and decide: batches in doubt, and bells that were given up.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::fastsmsing::Mishap;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{asks_for_many, by_hand, look, post, scene};

/// A batch of three whose fate is unknown, long enough after its courier's turn to be resolved.
async fn in_doubt(mishap: Mishap) -> (Scene, Vec<String>, String) {
    let settings = Settings { batch_size: 3, timeout_ms: 1_500, dispatch_timeout_s: Some(11), ..Settings::default() };
    let scene = scene(Settings { fastsmsing: by_hand(), ..settings }).await;
    scene.fastsmsing.misbehave(mishap);
    let ids = post(&scene, 0, 3, 1).await;
    scene.drain().await.unwrap();
    let (_, page) = scene.operator().get("/batches?state=UNKNOWN").await.unwrap();
    assert_eq!((page["batches"].as_array().unwrap().len(), &page["batches"][0]["messages"]), (1, &json!(3)), "{page}");
    let batch = page["batches"][0]["id"].as_str().unwrap().to_owned();
    (scene, ids, batch)
}

/// Resolves as soon as nobody can be at work on the batch any more.
async fn resolve(scene: &Scene, batch: &str, resolution: &Value) -> (StatusCode, Value) {
    loop {
        let answer = scene.operator().post_to(&format!("/batches/{batch}/resolution"), resolution).await.unwrap();
        let busy = answer.1["detail"].as_str().is_some_and(|detail| detail.contains("under way"));
        if !busy {
            return answer;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_settles_a_batch_that_was_sent() {
    let (scene, ids, batch) = in_doubt(Mishap::AcceptThenSilence).await;
    let path = format!("/batches/{batch}/resolution");
    let (refused, problem) = scene.shop().post_to(&path, &json!({"outcome": "SENT"})).await.unwrap();
    assert_eq!((refused.as_u16(), problem["field"].as_str()), (403, Some("X-API-Key")));
    let (bad, problem) = scene.operator().post_to(&path, &json!({"outcome": "PERHAPS"})).await.unwrap();
    assert_eq!((bad.as_u16(), problem["field"].as_str()), (400, Some("outcome")));

    let (status, settled) = resolve(&scene, &batch, &json!({"outcome": "SENT"})).await;
    assert_eq!((status.as_u16(), settled["state"].as_str()), (200, Some("CONFIRMED")), "{settled}");
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("CONFIRMED".into(), "SENT".into()));
    }
    assert_eq!(resolve(&scene, &batch, &json!({"outcome": "SENT"})).await.0.as_u16(), 200, "a repeat is no error");
    assert_eq!(resolve(&scene, &batch, &json!({"outcome": "NOT_SENT"})).await.0.as_u16(), 409);
    let (found, one) = scene.operator().get(&format!("/batches/{batch}")).await.unwrap();
    assert_eq!((found.as_u16(), one["members"].as_array().unwrap().len()), (200, 3));
    let (missing, _) = scene.operator().get("/batches/0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57").await.unwrap();
    assert_eq!(missing.as_u16(), 404);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_settles_a_batch_that_was_not_sent_and_its_messages_stay_unsent() {
    let (scene, ids, batch) = in_doubt(Mishap::SilenceBeforeAccepting).await;
    let (status, settled) = resolve(&scene, &batch, &json!({"outcome": "NOT_SENT"})).await;
    assert_eq!((status.as_u16(), settled["state"].as_str()), (200, Some("REJECTED")), "{settled}");
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("FAILED".into(), "NOT_SENT".into()));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.unknown_batches), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sends_again_what_was_not_sent() {
    let (scene, ids, batch) = in_doubt(Mishap::SilenceBeforeAccepting).await;
    let (status, _) = resolve(&scene, &batch, &json!({"outcome": "NOT_SENT", "requeue": true})).await;
    assert_eq!(status.as_u16(), 200);
    while scene.fastsmsing.billed_requests() == 0 {
        scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("CONFIRMED".into(), "SENT".into()));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.provider_requests), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bells_that_were_given_up_can_be_rung_again_at_any_time() {
    let scene = scene(Settings { visibility_timeout_s: Some(1), receives_max: Some(1), ..Settings::default() }).await;
    scene.stack.dynamo_wire.set_rule(|seen| match asks_for_many(seen, "Messages") {
        true => Fault::DropRequest,
        false => Fault::Pass,
    });
    let ids = post(&scene, 0, 12, 2).await;
    let dead = || async { scene.stack.sqs.counters("DeadBells").await.unwrap().visible };
    while dead().await < 12 {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(look(&scene, &ids[0]).await, ("ACCEPTED".into(), "QUEUED".into()));
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(scene.stack.sqs.redrive("DeadBells", "Doorbell").await.unwrap(), 12);
    scene.drain().await.unwrap();
    let requests = scene.fastsmsing.billed_requests();

    // The same bells once more, for messages that have long arrived.
    let bells: Vec<_> =
        ids.iter().map(|id| json!({"messageId": id, "body": json!({"ids": [id]}).to_string()})).collect();
    let answer = scene.stack.invoke("dispatch", json!({"Records": bells})).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice, audit.provider_requests), (12, 0, requests));
}
