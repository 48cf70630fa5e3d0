//! What was once found broken, and must not be again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::caller::message;
#[cfg(debug_assertions)]
use tests::crash::Points;
use tests::fastsmsing::Mishap;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{body_holds, by_hand, items, look, post, put, scene, short_lived, shown};

/// Makes the record look as if the provider had been called `old` when the messages were sent.
fn rename_provider(scene: &Scene, old: &str) {
    let database = &scene.stack.dynamo.database;
    for mut item in items(database, "Messages") {
        item["provider"]["S"] = old.into();
        put(database, "Messages", &item);
    }
    for mut item in items(database, "Batches") {
        let key = json!({"provider_day": item["provider_day"], "id": item["id"]});
        database.delete_item(serde_json::from_value(json!({"TableName": "Batches", "Key": key})).unwrap()).unwrap();
        let day = item["provider_day"]["S"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
        item["provider_day"]["S"] = format!("{old}#{day}").into();
        item["provider"]["S"] = old.into();
        item["open"]["S"] = old.into();
        put(database, "Batches", &item);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_found_under_the_provider_it_was_made_for_also_when_that_has_another_name_now() {
    let settings = Settings { batch_size: 5, fastsmsing: by_hand(), timeout_ms: 1_500, ..Settings::default() };
    let scene = scene(Settings { dispatch_timeout_s: Some(11), sweep_timeout_s: Some(12), ..settings }).await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    while scene.fastsmsing.billed_requests() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    scene.stack.kill_all("dispatch").await;
    rename_provider(&scene, "fastsmsing-old");
    while look(&scene, &ids[0]).await.1 == "SENDING" {
        scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("ACCEPTED".into(), "UNCONFIRMED".into()));
    }
    assert_eq!(scene.fastsmsing.seen().len(), 1);
    let (_, page) = scene.operator().get("/batches?provider=fastsmsing-old").await.unwrap();
    assert_eq!(page["batches"][0]["state"], "UNKNOWN", "{page}");
    drop(scene.untold());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_error_answers_count_against_a_message() {
    let scene = scene(Settings { batch_size: 4, attempts_max: 1, ..Settings::default() }).await;
    let pause = || Mishap::TooMany { retry_after_s: 1 };
    for mishap in [pause(), pause(), Mishap::RefuseBatch, Mishap::ServerError] {
        scene.fastsmsing.misbehave(mishap);
    }
    post(&scene, 0, 4, 1).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 4, "{audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_counted_and_never_made_leaves_no_doubt() {
    let scene = scene(Settings { batch_size: 5, ..short_lived() }).await;
    scene.fastsmsing.misbehave(Mishap::ServerError);
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lost);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let body = String::from_utf8_lossy(&seen.body);
        let again = seen.operation.as_deref() == Some("UpdateItem") && body.contains("#attempts = :next");
        match again && counted.fetch_add(1, Ordering::SeqCst) < 3 {
            true => Fault::DropAnswer,
            false => Fault::Pass,
        }
    });
    post(&scene, 0, 5, 1).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!(lost.load(Ordering::SeqCst).min(3), 3);
    assert_eq!((audit.delivered(), audit.unknown_batches, audit.provider_requests), (5, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_without_delay_does_not_ring_before_the_record_has_the_message() {
    let scene = scene(Settings { window_s: 0, ..Settings::default() }).await;
    scene.stack.dynamo_wire.set_rule(|seen| {
        let accepts =
            seen.operation.as_deref() == Some("PutItem") && String::from_utf8_lossy(&seen.body).contains("ACCEPTED");
        if accepts { Fault::DelayMs(1_500) } else { Fault::Pass }
    });
    scene.shop().send(&message(1)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_after_the_validity_has_passed_still_tells_that_the_first_was_accepted() {
    let scene = scene(Settings::default()).await;
    let mut short = message(1);
    short["valid_until"] = (jiff::Timestamp::now() + SignedDuration::from_millis(2_500)).to_string().into();
    let key = [("Idempotency-Key", "order-9")];
    let first: Value = scene.shop().post_with(&short, &key).await.unwrap().json().await.unwrap();
    scene.drain().await.unwrap();
    loop {
        let answer = scene.shop().post(&short).await.unwrap();
        if answer.status().as_u16() == 400 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let again = scene.shop().post_with(&short, &key).await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["idempotent-replayed"].to_str().unwrap()), (202, "true"));
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_contradicts_the_record_is_taken_without_the_old_reason() {
    let scene = scene(Settings { batch_size: 1, fastsmsing: by_hand(), ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, ("FAILED".into(), "NOT_SENT".into()));
    let (_, answer) = scene.report(json!({&id: "DELIVERED"}).to_string().into_bytes()).await.unwrap();
    assert_eq!(answer["results"][0]["result"], "contradicted");
    let message = scene.shop().message(&id).await.unwrap();
    assert_eq!((shown(&message), message.get("reason")), (("DELIVERED", "SENT"), None));
    drop(scene.untold());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_writes_nothing_about_what_it_can_not_find_out() {
    let scene =
        scene(Settings { batch_size: 5, fastsmsing: by_hand(), sweep_timeout_s: Some(12), ..short_lived() }).await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    scene.stack.dynamo_wire.observe(move |seen| {
        let writes = matches!(seen.operation.as_deref(), Some("BatchExecuteStatement" | "UpdateItem" | "PutItem"));
        // Nor does it read such batches one by one.
        if writes || (seen.operation.as_deref() == Some("GetItem") && body_holds(seen, "\"Batches\"")) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    // Until the batch is old enough to be looked at, and then some.
    for _ in 0..30 {
        let swept = scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
        assert_eq!(swept["recovered"], 0, "{swept}");
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(done.load(Ordering::SeqCst), 0);
    scene.finish().await.unwrap();
}

/// The one who learns that an unknown batch was sent is stopped before its messages were told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubt_that_was_settled_is_told_by_the_next_sweep() {
    let scene = scene(Settings { batch_size: 2, fastsmsing: by_hand(), ..short_lived() }).await;
    scene.fastsmsing.misbehave(Mishap::ResetAfterAccepting);
    let ids = post(&scene, 0, 2, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &ids[1]).await, ("ACCEPTED".into(), "UNCONFIRMED".into()));

    // W5 gets through, W6 does not; then the provider gives up reporting.
    scene.stack.dynamo_wire.set_rule(|seen| match seen.operation.as_deref() {
        Some("BatchExecuteStatement") => Fault::DropRequest,
        _ => Fault::Pass,
    });
    let report = json!({ids[0].as_str(): "DELIVERED"}).to_string();
    let (status, _) = scene.report(report.into_bytes()).await.unwrap();
    assert!(status.is_server_error());
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(look(&scene, &ids[1]).await.1, "UNCONFIRMED");
    scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
    assert_eq!(look(&scene, &ids[1]).await, ("CONFIRMED".into(), "SENT".into()));
    scene.finish().await.unwrap();
}

/// What the provider reports is moved by somebody else each time, just before it is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_lost_every_round_is_not_called_recorded() {
    let scene = scene(Settings { batch_size: 1, fastsmsing: by_hand(), ..Settings::default() }).await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let database = scene.stack.dynamo.database.clone();
    scene.stack.dynamo_wire.set_rule(move |seen| {
        if seen.operation.as_deref() == Some("BatchExecuteStatement") && body_holds(seen, "DELIVERED") {
            let mut item = items(&database, "Messages").remove(0);
            let other = if body_holds(seen, "\"UNCONFIRMED\"") { "CONFIRMED" } else { "UNCONFIRMED" };
            item["state"]["S"] = other.into();
            put(&database, "Messages", &item);
        }
        Fault::Pass
    });
    let report = || json!({&id: "DELIVERED"}).to_string().into_bytes();
    let (status, _) = scene.report(report()).await.unwrap();
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(status.as_u16(), 503);
    assert_ne!(look(&scene, &id).await.0, "DELIVERED");
    let (_, answer) = scene.report(report()).await.unwrap();
    assert_eq!(answer["results"][0]["result"], "recorded");
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    drop(scene.untold());
}

/// A report about one message lets the whole batch look as if it were sent; then its courier learns that the provider
/// refused another one, writes that down, and is stopped.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_outranks_what_a_report_about_another_message_made_us_conclude() {
    const LATE_MS: u64 = 3_000;
    let points = Points::new().unwrap();
    let settings =
        Settings { batch_size: 2, fastsmsing: by_hand(), environment: points.environment(), ..short_lived() };
    let scene = scene(settings).await;
    scene.fastsmsing.misbehave(Mishap::RefuseMessages { recipient_suffix: "1".into() });
    scene.stack.dynamo_wire.set_rule(|seen| {
        let settles =
            seen.operation.as_deref() == Some("UpdateItem") && String::from_utf8_lossy(&seen.body).contains("refused");
        if settles { Fault::DelayMs(LATE_MS) } else { Fault::Pass }
    });
    let ids = post(&scene, 0, 2, 1).await;
    while scene.fastsmsing.billed_requests() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    // A sweep that takes the courier for dead, and a report about the message that was taken.
    points.set_clocks(&[120_000], true).unwrap();
    scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
    points.set_clocks(&[], true).unwrap();
    let report = json!({ids[0].as_str(): "DELIVERED"}).to_string();
    scene.report(report.into_bytes()).await.unwrap();
    assert_eq!(look(&scene, &ids[1]).await, ("CONFIRMED".into(), "SENT".into()), "as far as anybody can know");
    points.crash_at(&["Dispatch: after settle a batch, time 1".to_owned()]).unwrap();
    scene.drain().await.unwrap();
    scene.stack.dynamo_wire.clear_rule();

    points.set_clocks(&[240_000], true).unwrap();
    scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
    assert_eq!(look(&scene, &ids[1]).await, ("FAILED".into(), "NOT_SENT".into()));
    scene.finish().await.unwrap();
}
