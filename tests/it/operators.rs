//! What operators see and decide: batches in doubt, and bells that were given up.

use std::time::Duration;

use serde_json::{Value, json};
use tests::fastsmsing::Mishap;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{asks_for_many, body_holds, by_hand, items, look, post, put, resolve, scene, shown};

/// A batch of three whose fate is unknown, long enough after its courier's turn to be resolved.
async fn in_doubt(mishap: Mishap) -> (Scene, Vec<String>, String) {
    let settings = Settings { batch_size: 3, timeout_ms: 1_500, dispatch_timeout_s: Some(11), ..Settings::default() };
    let scene = scene(Settings { fastsmsing: by_hand(), sweep_timeout_s: Some(12), ..settings }).await;
    scene.fastsmsing.misbehave(mishap);
    let ids = post(&scene, 0, 3, 1).await;
    scene.drain().await.unwrap();
    let (_, page) = scene.operator().get("/batches?state=UNKNOWN").await.unwrap();
    assert_eq!((page["batches"].as_array().unwrap().len(), &page["batches"][0]["messages"]), (1, &json!(3)), "{page}");
    let batch = page["batches"][0]["id"].as_str().unwrap().to_owned();
    (scene, ids, batch)
}

/// The batches as they stand in the record.
fn batches(scene: &Scene) -> Vec<Value> {
    items(&scene.stack.dynamo.database, "Batches")
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

/// The operator's word gets into the record, and the function is stopped before any message was told; by then there are
/// only sweeps, since the operator does not call again.
async fn half_told(requeue: bool) -> (Scene, Vec<String>, String) {
    let (scene, ids, batch) = in_doubt(Mishap::SilenceBeforeAccepting).await;
    scene.stack.dynamo_wire.set_rule(|seen| match seen.operation.as_deref() {
        Some("BatchExecuteStatement") => Fault::DropRequest,
        _ => Fault::Pass,
    });
    let (status, _) = resolve(&scene, &batch, &json!({"outcome": "NOT_SENT", "requeue": requeue})).await;
    assert_eq!(status.as_u16(), 503);
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(look(&scene, &ids[0]).await.1, "UNCONFIRMED");
    let other = json!({"outcome": "NOT_SENT", "requeue": !requeue});
    assert_eq!(resolve(&scene, &batch, &other).await.0.as_u16(), 409, "another word");
    assert_eq!(resolve(&scene, &batch, &json!({"outcome": "SENT"})).await.0.as_u16(), 409, "another word");
    (scene, ids, batch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_nobody_was_told_is_told_by_the_next_sweep() {
    let (scene, ids, batch) = half_told(false).await;
    scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
    for id in &ids {
        let message = scene.shop().message(id).await.unwrap();
        assert_eq!((shown(&message), &message["reason"]), (("FAILED", "NOT_SENT"), &json!("PROVIDER_ERROR")));
    }
    let same = json!({"outcome": "NOT_SENT"});
    assert_eq!(resolve(&scene, &batch, &same).await.0.as_u16(), 200, "a repeat is no error");
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.unknown_batches), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_to_send_again_that_nobody_was_told_is_told_by_the_next_sweep() {
    let (scene, ids, batch) = half_told(true).await;
    while look(&scene, &ids[0]).await.1 != "SENT" {
        scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    scene.drain().await.unwrap();
    let (found, one) = scene.operator().get(&format!("/batches/{batch}")).await.unwrap();
    assert_eq!((found.as_u16(), one["state"].as_str()), (200, Some("REJECTED")));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.provider_requests, audit.unknown_batches), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_open_until_its_members_were_told_the_word() {
    let (scene, _, batch) = half_told(false).await;
    let is_open = || batches(&scene)[0].get("open").is_some();
    assert!(is_open());
    // Nothing is found by the messages.
    scene.stack.dynamo_wire.set_rule(|seen| {
        let reads = seen.operation.as_deref() == Some("Query") && body_holds(seen, "\"Messages\"");
        if reads { Fault::DropRequest } else { Fault::Pass }
    });
    while is_open() {
        // It fails, since the messages can't be read, and does the rest all the same.
        let _ = scene.stack.invoke("sweep", json!({"reach": "recent"})).await;
        sleep(Duration::from_millis(200)).await;
    }
    scene.stack.dynamo_wire.clear_rule();
    let (_, one) = scene.operator().get(&format!("/batches/{batch}")).await.unwrap();
    let told = look(&scene, one["members"][2].as_str().unwrap()).await;
    assert_eq!(told, ("FAILED".into(), "NOT_SENT".into()));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_courier_knows_was_not_sent_is_no_operators_to_settle() {
    let scene = scene(Settings { batch_size: 1, fastsmsing: by_hand(), ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    post(&scene, 0, 1, 1).await;
    scene.drain().await.unwrap();
    let before = batches(&scene);
    let batch = before[0]["id"]["S"].as_str().unwrap();
    for requeue in [false, true] {
        let word = json!({"outcome": "NOT_SENT", "requeue": requeue});
        assert_eq!(resolve(&scene, batch, &word).await.0.as_u16(), 409);
    }
    assert_eq!(batches(&scene), before);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_says_nothing_of_a_request_that_was_begun_after_it_was_given() {
    let (scene, ids, batch) = in_doubt(Mishap::SilenceBeforeAccepting).await;
    // Between the operator's look and the write of it, a sweep counts another attempt.
    let database = scene.stack.dynamo.database.clone();
    scene.stack.dynamo_wire.set_rule(move |seen| {
        if seen.operation.as_deref() == Some("UpdateItem") && body_holds(seen, "requeue") {
            let mut item = items(&database, "Batches").remove(0);
            item["attempts"] = json!({"N": "2"});
            put(&database, "Batches", &item);
        }
        Fault::Pass
    });
    let (status, _) = resolve(&scene, &batch, &json!({"outcome": "NOT_SENT", "requeue": true})).await;
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!((status.as_u16(), batches(&scene)[0]["state"]["S"].as_str()), (409, Some("UNKNOWN")));
    assert_eq!(look(&scene, &ids[0]).await.1, "UNCONFIRMED");
    drop(scene.untold());
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
