//! Regressions of delivery reports that contradict the record, or race with a write to it.

use serde_json::json;
use tests::caller::message;
#[cfg(debug_assertions)]
use tests::crash::CrashPoints;
use tests::fastsmsing::Mishap;
use tests::scene::Settings;
use tests::wire::Fault;

use crate::support::{body_holds, by_hand, items, look, post, put, scene, short_lived, shown};
#[cfg(debug_assertions)]
use crate::support::{sweep, wait_for_requests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_contradicts_the_record_removes_the_old_reason() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(
        look(&scene, &id).await,
        ("FAILED".into(), "NOT_SENT".into())
    );
    let (_, answer) = scene
        .report(json!({&id: "DELIVERED"}).to_string().into_bytes())
        .await
        .unwrap();
    assert_eq!(answer["results"][0]["result"], "contradicted");
    let message = scene.shop().message(&id).await.unwrap();
    assert_eq!(
        (shown(&message), message.get("reason")),
        (("DELIVERED", "SENT"), None)
    );
    drop(scene.without_audit());
}

/// Each time that a report is about to be written, another write changes its message first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_loses_every_race_is_not_answered_as_recorded() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let database = scene.stack.dynamo.database.clone();
    scene.stack.dynamo_wire.set_rule(move |seen| {
        if seen.operation.as_deref() == Some("BatchExecuteStatement")
            && body_holds(seen, "DELIVERED")
        {
            let mut item = items(&database, "Messages").remove(0);
            let other = if body_holds(seen, "\"UNCONFIRMED\"") {
                "CONFIRMED"
            } else {
                "UNCONFIRMED"
            };
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
    drop(scene.without_audit());
}

/// A report about one message makes the whole batch CONFIRMED. Only then does the dispatcher learn
/// that the provider refused another one; it records that, and crashes.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_outranks_what_a_report_about_another_message_implied() {
    const LATE_MS: u64 = 3_000;
    let points = CrashPoints::new().unwrap();
    let settings = Settings {
        batch_size: 2,
        fastsmsing: by_hand(),
        environment: points.environment(),
        ..short_lived()
    };
    let scene = scene(settings).await;
    scene.fastsmsing.misbehave(Mishap::RefuseMessages {
        recipient_suffix: "1".into(),
    });
    scene.stack.dynamo_wire.set_rule(|seen| {
        let settles = seen.operation.as_deref() == Some("UpdateItem")
            && String::from_utf8_lossy(&seen.body).contains("refused");
        if settles {
            Fault::DelayMs(LATE_MS)
        } else {
            Fault::Pass
        }
    });
    let ids = post(&scene, 0, 2, 1).await;
    wait_for_requests(&scene, 1).await;
    // The sweep finds the deadline passed; the report is about the message that was accepted.
    points.set_clocks(&[120_000], true).unwrap();
    sweep(&scene).await.unwrap();
    points.set_clocks(&[], true).unwrap();
    let report = json!({ids[0].as_str(): "DELIVERED"}).to_string();
    scene.report(report.into_bytes()).await.unwrap();
    assert_eq!(
        look(&scene, &ids[1]).await,
        ("CONFIRMED".into(), "SENT".into()),
        "the report speaks for the whole batch"
    );
    points
        .crash_at(&["Dispatch: after settle a batch, time 1".to_owned()])
        .unwrap();
    scene.drain().await.unwrap();
    scene.stack.dynamo_wire.clear_rule();

    points.set_clocks(&[240_000], true).unwrap();
    sweep(&scene).await.unwrap();
    assert_eq!(
        look(&scene, &ids[1]).await,
        ("FAILED".into(), "NOT_SENT".into())
    );
    scene.finish().await.unwrap();
}
