//! A dispatcher is killed while it works on a batch.

use std::time::Duration;

use tests::fastsmsing::{Mishap, Status};
use tests::scene::Settings;
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{Limit, by_hand, look, pair, post, scene, short_lived, wait_for_requests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_killed_while_it_waits_for_the_provider_sends_nothing_twice() {
    let scene = scene(Settings {
        batch_size: 5,
        fastsmsing: by_hand(),
        ..short_lived()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    wait_for_requests(&scene, 1).await;
    scene.stack.kill_all("dispatch").await;
    scene.drain().await.unwrap();
    scene.fastsmsing.report(&ids[..1], Status::Delivered);
    scene.drain().await.unwrap();
    for id in &ids[1..] {
        assert_eq!(look(&scene, id).await, pair("CONFIRMED", "SENT"));
    }
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
async fn a_dispatcher_killed_between_claim_and_intent_loses_nothing() {
    let scene = scene(Settings {
        batch_size: 5,
        ..short_lived()
    })
    .await;
    // The intent arrives long after its dispatcher died, and after another batch took its messages.
    scene.stack.dynamo_wire.set_rule(|seen| {
        let intent = seen.operation.as_deref() == Some("PutItem")
            && String::from_utf8_lossy(&seen.body).contains("STARTED");
        if intent {
            Fault::DelayMs(15_000)
        } else {
            Fault::Pass
        }
    });
    let ids = post(&scene, 0, 5, 1).await;
    let limit = Limit::of("the claim");
    while look(&scene, &ids[0]).await != pair("ACCEPTED", "SENDING") {
        limit.check();
        sleep(Duration::from_millis(5)).await;
    }
    scene.stack.kill_all("dispatch").await;
    scene.stack.dynamo_wire.clear_rule();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (5, 0));
}
