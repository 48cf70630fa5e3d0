//! The sweep finds messages without a bell and batches without a dispatcher.

use std::time::Duration;

use tests::caller::message;
use tests::scene::Settings;
use tests::wire::Fault;
use tokio::time::sleep;

use crate::support::{
    Limit, abandoned_batch, body_holds, by_hand, look, post, scene, shown, sweep, sweep_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_bell_was_lost_is_sent_nevertheless() {
    let scene = scene(Settings::default()).await;
    scene.stack.sqs_wire.set_rule(|_| Fault::DropRequest);
    let ids = post(&scene, 0, 3, 1).await;
    scene.stack.sqs_wire.clear_rule();
    assert_eq!(look(&scene, &ids[0]).await.1, "QUEUED");
    sweep_until(&scene, "three bells", async |swept| swept["rung"] == 3).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (3, 1));
}

/// Here, the open batches cannot even be listed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_fails_on_batches_still_finds_the_messages() {
    let scene = scene(Settings::default()).await;
    scene.stack.sqs_wire.set_rule(|_| Fault::DropRequest);
    let ids = post(&scene, 0, 1, 1).await;
    scene.stack.sqs_wire.clear_rule();
    scene.stack.dynamo_wire.set_rule(|seen| {
        let lists = seen.operation.as_deref() == Some("Query") && body_holds(seen, "IndexName");
        if lists {
            Fault::DropRequest
        } else {
            Fault::Pass
        }
    });
    for _ in 0..60 {
        // The invocation fails, because it could not do all of its work.
        sweep(&scene).await.unwrap_err();
        if look(&scene, &ids[0]).await.1 != "QUEUED" {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_past_its_validity_is_not_sent() {
    let scene = scene(Settings {
        window_s: 5,
        ..Settings::default()
    })
    .await;
    let mut short = message(1);
    short["valid_until"] = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2))
        .to_string()
        .into();
    let id = scene.shop().send(&short).await.unwrap();
    sweep_until(&scene, "the message to expire", async |swept| {
        swept["expired"] == 1
    })
    .await;
    let message = scene.shop().message(&id).await.unwrap();
    assert_eq!(
        (shown(&message), message["reason"].as_str()),
        (("FAILED", "NOT_SENT"), Some("EXPIRED"))
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.provider_requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sweeps_at_once_recover_the_batch_of_a_dead_dispatcher_without_its_bells() {
    // The dead dispatcher's bells come back after minutes; the sweeps do not need them.
    let (scene, ids) = abandoned_batch(by_hand()).await;
    let limit = Limit::of("recovery");
    while look(&scene, &ids[0]).await.1 != "UNCONFIRMED" {
        limit.check();
        let (one, other) = tokio::join!(sweep(&scene), sweep(&scene));
        one.and(other).unwrap();
    }
    for id in &ids {
        assert_eq!(look(&scene, id).await.1, "UNCONFIRMED");
    }
    assert_eq!(scene.fastsmsing.seen().len(), 1);
    drop(scene.without_audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_provider_key_the_sweep_settles_an_open_batch_with_the_same_bytes() {
    let mut fastsmsing = by_hand();
    fastsmsing.key_lifetime_s = 3_600;
    let (scene, ids) = abandoned_batch(fastsmsing).await;
    sweep_until(&scene, "recovery", async |swept| swept["recovered"] == 1).await;
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("CONFIRMED".into(), "SENT".into()));
    }
    assert_eq!(
        (
            scene.fastsmsing.seen().len(),
            scene.fastsmsing.billed_requests()
        ),
        (2, 1)
    );
    drop(scene.without_audit());
}
