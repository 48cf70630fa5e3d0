//! Bells that reached the dead-letter queue, and what happens when an operator redrives them.

use std::time::Duration;

use serde_json::json;
use tests::scene::Settings;
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{Limit, gets_many_from, look, post, scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_bells_can_be_redriven_at_any_time() {
    let scene = scene(Settings {
        visibility_timeout_s: Some(1),
        receives_max: Some(1),
        ..Settings::default()
    })
    .await;
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match gets_many_from(seen, "Messages") {
            true => Fault::DropRequest,
            false => Fault::Pass,
        });
    let ids = post(&scene, 0, 12, 2).await;
    let dead = || async { scene.stack.sqs.counters("DeadBells").await.unwrap().visible };
    let limit = Limit::of("dead bells");
    while dead().await < 12 {
        limit.check();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        look(&scene, &ids[0]).await,
        ("ACCEPTED".into(), "QUEUED".into())
    );
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(
        scene
            .stack
            .sqs
            .redrive("DeadBells", "Doorbell")
            .await
            .unwrap(),
        12
    );
    scene.drain().await.unwrap();
    let requests = scene.fastsmsing.billed_requests();

    // The same bells ring once more, for messages that were delivered long ago.
    let bells: Vec<_> = ids
        .iter()
        .map(|id| json!({"messageId": id, "body": json!({"ids": [id]}).to_string()}))
        .collect();
    let answer = scene
        .stack
        .invoke("dispatch", json!({"Records": bells}))
        .await
        .unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (audit.delivered(), audit.sent_twice, audit.provider_requests),
        (12, 0, requests)
    );
}
