//! Operators settle the batches whose fate is unknown.

use std::time::Duration;

use serde_json::{Value, json};
use tests::fastsmsing::Mishap;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{
    Limit, body_holds, by_hand, items, look, post, put, resolve, scene, shown, sweep, sweep_until,
};

/// A batch of three messages that is UNKNOWN, with its messages and its id.
async fn unknown_batch(mishap: Mishap) -> (Scene, Vec<String>, String) {
    let settings = Settings {
        batch_size: 3,
        timeout_ms: 1_500,
        dispatch_timeout_s: Some(11),
        ..Settings::default()
    };
    let scene = scene(Settings {
        fastsmsing: by_hand(),
        sweep_timeout_s: Some(12),
        ..settings
    })
    .await;
    scene.fastsmsing.misbehave(mishap);
    let ids = post(&scene, 0, 3, 1).await;
    scene.drain().await.unwrap();
    let (_, page) = scene
        .operator()
        .get("/batches?state=UNKNOWN")
        .await
        .unwrap();
    assert_eq!(
        (
            page["batches"].as_array().unwrap().len(),
            &page["batches"][0]["messages"]
        ),
        (1, &json!(3)),
        "{page}"
    );
    let batch = page["batches"][0]["id"].as_str().unwrap().to_owned();
    (scene, ids, batch)
}

/// The items of the record that are batches.
fn batches(scene: &Scene) -> Vec<Value> {
    items(&scene.stack.dynamo.database, "Batches")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_settles_a_batch_that_was_sent() {
    let (scene, ids, batch) = unknown_batch(Mishap::AcceptThenSilence).await;
    assert_bad_decisions_are_refused(&scene, &batch).await;
    let (status, settled) = resolve(&scene, &batch, &json!({"outcome": "SENT"})).await;
    assert_eq!(
        (status.as_u16(), settled["state"].as_str()),
        (200, Some("CONFIRMED")),
        "{settled}"
    );
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("CONFIRMED".into(), "SENT".into()));
    }
    assert_eq!(
        resolve(&scene, &batch, &json!({"outcome": "SENT"}))
            .await
            .0
            .as_u16(),
        200,
        "a repeated decision is no error"
    );
    assert_eq!(
        resolve(&scene, &batch, &json!({"outcome": "NOT_SENT"}))
            .await
            .0
            .as_u16(),
        409
    );
    let (found, one) = scene
        .operator()
        .get(&format!("/batches/{batch}"))
        .await
        .unwrap();
    assert_eq!(
        (found.as_u16(), one["members"].as_array().unwrap().len()),
        (200, 3)
    );
    let (missing, _) = scene
        .operator()
        .get("/batches/0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57")
        .await
        .unwrap();
    assert_eq!(missing.as_u16(), 404);
    scene.finish().await.unwrap();
}

async fn assert_bad_decisions_are_refused(scene: &Scene, batch: &str) {
    let path = format!("/batches/{batch}/resolution");
    let (refused, problem) = scene
        .shop()
        .post_to(&path, &json!({"outcome": "SENT"}))
        .await
        .unwrap();
    assert_eq!(
        (refused.as_u16(), problem["field"].as_str()),
        (403, Some("X-API-Key"))
    );
    let (bad, problem) = scene
        .operator()
        .post_to(&path, &json!({"outcome": "PERHAPS"}))
        .await
        .unwrap();
    assert_eq!(
        (bad.as_u16(), problem["field"].as_str()),
        (400, Some("outcome"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_settles_a_batch_that_was_not_sent_without_sending_it_again() {
    let (scene, ids, batch) = unknown_batch(Mishap::SilenceBeforeAccepting).await;
    let (status, settled) = resolve(&scene, &batch, &json!({"outcome": "NOT_SENT"})).await;
    assert_eq!(
        (status.as_u16(), settled["state"].as_str()),
        (200, Some("REJECTED")),
        "{settled}"
    );
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("FAILED".into(), "NOT_SENT".into()));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.unknown_batches), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_has_a_batch_that_was_not_sent_sent_again() {
    let (scene, ids, batch) = unknown_batch(Mishap::SilenceBeforeAccepting).await;
    let (status, _) = resolve(
        &scene,
        &batch,
        &json!({"outcome": "NOT_SENT", "requeue": true}),
    )
    .await;
    assert_eq!(status.as_u16(), 200);
    sweep_until(&scene, "the requeued batch", async |_| {
        scene.fastsmsing.billed_requests() > 0
    })
    .await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("CONFIRMED".into(), "SENT".into()));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.provider_requests), (0, 1));
}

/// The operator's decision is recorded, but the function fails before it applies it to any message.
/// The operator does not call again, so only a sweep can apply it.
async fn decision_not_applied(requeue: bool) -> (Scene, Vec<String>, String) {
    let (scene, ids, batch) = unknown_batch(Mishap::SilenceBeforeAccepting).await;
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match seen.operation.as_deref() {
            Some("BatchExecuteStatement") => Fault::DropRequest,
            _ => Fault::Pass,
        });
    let (status, _) = resolve(
        &scene,
        &batch,
        &json!({"outcome": "NOT_SENT", "requeue": requeue}),
    )
    .await;
    assert_eq!(status.as_u16(), 503);
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(look(&scene, &ids[0]).await.1, "UNCONFIRMED");
    let other = json!({"outcome": "NOT_SENT", "requeue": !requeue});
    assert_eq!(
        resolve(&scene, &batch, &other).await.0.as_u16(),
        409,
        "another decision"
    );
    assert_eq!(
        resolve(&scene, &batch, &json!({"outcome": "SENT"}))
            .await
            .0
            .as_u16(),
        409,
        "another decision"
    );
    (scene, ids, batch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_was_not_applied_is_applied_by_the_next_sweep() {
    let (scene, ids, batch) = decision_not_applied(false).await;
    sweep(&scene).await.unwrap();
    for id in &ids {
        let message = scene.shop().message(id).await.unwrap();
        assert_eq!(
            (shown(&message), &message["reason"]),
            (("FAILED", "NOT_SENT"), &json!("PROVIDER_ERROR"))
        );
    }
    let same = json!({"outcome": "NOT_SENT"});
    assert_eq!(
        resolve(&scene, &batch, &same).await.0.as_u16(),
        200,
        "a repeated decision is no error"
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.unknown_batches), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_to_send_again_is_applied_by_the_next_sweep() {
    let (scene, ids, batch) = decision_not_applied(true).await;
    sweep_until(&scene, "the decision to be applied", async |_| {
        look(&scene, &ids[0]).await.1 == "SENT"
    })
    .await;
    scene.drain().await.unwrap();
    let (found, one) = scene
        .operator()
        .get(&format!("/batches/{batch}"))
        .await
        .unwrap();
    assert_eq!(
        (found.as_u16(), one["state"].as_str()),
        (200, Some("REJECTED"))
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (
            audit.sent_twice,
            audit.provider_requests,
            audit.unknown_batches
        ),
        (0, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_open_until_the_decision_is_applied_to_its_members() {
    let (scene, _, batch) = decision_not_applied(false).await;
    let is_open = || batches(&scene)[0].get("open").is_some();
    assert!(is_open());
    // The sweep cannot find the batch through its messages.
    scene.stack.dynamo_wire.set_rule(|seen| {
        let reads = seen.operation.as_deref() == Some("Query") && body_holds(seen, "\"Messages\"");
        if reads {
            Fault::DropRequest
        } else {
            Fault::Pass
        }
    });
    let limit = Limit::of("the batch to be closed");
    while is_open() {
        limit.check();
        // It fails, because it cannot read the messages, but it does the rest of its work.
        let _ = sweep(&scene).await;
        sleep(Duration::from_millis(200)).await;
    }
    scene.stack.dynamo_wire.clear_rule();
    let (_, one) = scene
        .operator()
        .get(&format!("/batches/{batch}"))
        .await
        .unwrap();
    let applied = look(&scene, one["members"][2].as_str().unwrap()).await;
    assert_eq!(applied, ("FAILED".into(), "NOT_SENT".into()));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_does_not_settle_what_a_dispatcher_has_settled() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    post(&scene, 0, 1, 1).await;
    scene.drain().await.unwrap();
    let before = batches(&scene);
    let batch = before[0]["id"]["S"].as_str().unwrap();
    for requeue in [false, true] {
        let decision = json!({"outcome": "NOT_SENT", "requeue": requeue});
        assert_eq!(resolve(&scene, batch, &decision).await.0.as_u16(), 409);
    }
    assert_eq!(batches(&scene), before);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_does_not_cover_an_attempt_that_was_begun_after_it() {
    let (scene, ids, batch) = unknown_batch(Mishap::SilenceBeforeAccepting).await;
    // A sweep counts another attempt after the decision was checked and before it is written.
    let database = scene.stack.dynamo.database.clone();
    scene.stack.dynamo_wire.set_rule(move |seen| {
        if seen.operation.as_deref() == Some("UpdateItem") && body_holds(seen, "requeue") {
            let mut item = items(&database, "Batches").remove(0);
            item["attempts"] = json!({"N": "2"});
            put(&database, "Batches", &item);
        }
        Fault::Pass
    });
    let (status, _) = resolve(
        &scene,
        &batch,
        &json!({"outcome": "NOT_SENT", "requeue": true}),
    )
    .await;
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(
        (status.as_u16(), batches(&scene)[0]["state"]["S"].as_str()),
        (409, Some("UNKNOWN"))
    );
    assert_eq!(look(&scene, &ids[0]).await.1, "UNCONFIRMED");
    drop(scene.without_audit());
}
