//! Regressions of recovery: what the sweep does with the batches that a dispatcher left open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tests::fastsmsing::Mishap;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{
    abandoned_batch, body_holds, by_hand, items, look, post, put, scene, short_lived, sweep,
    sweep_until,
};

/// Changes the record as if the provider had had the name `old` when the messages were sent.
fn rename_provider(scene: &Scene, old: &str) {
    let database = &scene.stack.dynamo.database;
    for mut item in items(database, "Messages") {
        item["provider"]["S"] = old.into();
        put(database, "Messages", &item);
    }
    for mut item in items(database, "Batches") {
        let key = json!({"provider_day": item["provider_day"], "id": item["id"]});
        database
            .delete_item(
                serde_json::from_value(json!({"TableName": "Batches", "Key": key})).unwrap(),
            )
            .unwrap();
        let day = item["provider_day"]["S"]
            .as_str()
            .unwrap()
            .split('#')
            .nth(1)
            .unwrap()
            .to_owned();
        item["provider_day"]["S"] = format!("{old}#{day}").into();
        item["provider"]["S"] = old.into();
        item["open"]["S"] = old.into();
        put(database, "Batches", &item);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_recovered_although_its_provider_has_been_renamed_since() {
    let (scene, ids) = abandoned_batch(by_hand()).await;
    rename_provider(&scene, "fastsmsing-old");
    sweep_until(&scene, "recovery", async |_| {
        look(&scene, &ids[0]).await.1 != "SENDING"
    })
    .await;
    for id in &ids {
        assert_eq!(
            look(&scene, id).await,
            ("ACCEPTED".into(), "UNCONFIRMED".into())
        );
    }
    assert_eq!(scene.fastsmsing.seen().len(), 1);
    let (_, page) = scene
        .operator()
        .get("/batches?provider=fastsmsing-old")
        .await
        .unwrap();
    assert_eq!(page["batches"][0]["state"], "UNKNOWN", "{page}");
    drop(scene.without_audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_writes_nothing_about_a_batch_that_it_cannot_settle() {
    let scene = scene(Settings {
        batch_size: 5,
        fastsmsing: by_hand(),
        sweep_timeout_s: Some(12),
        ..short_lived()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    scene.stack.dynamo_wire.observe(move |seen| {
        let writes = matches!(
            seen.operation.as_deref(),
            Some("BatchExecuteStatement" | "UpdateItem" | "PutItem")
        );
        // It does not read such batches one by one either.
        if writes
            || (seen.operation.as_deref() == Some("GetItem") && body_holds(seen, "\"Batches\""))
        {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    // Long enough for the batch to pass its deadline, and for several sweeps after that.
    for _ in 0..30 {
        let swept = sweep(&scene).await.unwrap();
        assert_eq!(swept["recovered"], 0, "{swept}");
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    scene.finish().await.unwrap();
}

/// The function that records that an UNKNOWN batch was sent fails before it updates the messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_a_settled_batch_is_applied_by_the_next_sweep() {
    let scene = scene(Settings {
        batch_size: 2,
        fastsmsing: by_hand(),
        ..short_lived()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::ResetAfterAccepting);
    let ids = post(&scene, 0, 2, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(
        look(&scene, &ids[1]).await,
        ("ACCEPTED".into(), "UNCONFIRMED".into())
    );

    // W5 succeeds and W6 fails; the provider does not repeat its report.
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match seen.operation.as_deref() {
            Some("BatchExecuteStatement") => Fault::DropRequest,
            _ => Fault::Pass,
        });
    let report = json!({ids[0].as_str(): "DELIVERED"}).to_string();
    let (status, _) = scene.report(report.into_bytes()).await.unwrap();
    assert!(status.is_server_error());
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(look(&scene, &ids[1]).await.1, "UNCONFIRMED");
    sweep(&scene).await.unwrap();
    assert_eq!(
        look(&scene, &ids[1]).await,
        ("CONFIRMED".into(), "SENT".into())
    );
    scene.finish().await.unwrap();
}
