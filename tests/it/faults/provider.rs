//! The provider fails, refuses, or does not answer.

use serde_json::json;
use tests::fastsmsing::{Mishap, Status};
use tests::scene::Settings;

use crate::support::{by_hand, look, pair, post, scene, shown, statistics};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_is_sent_but_not_confirmed_until_one_report_settles_the_whole_batch() {
    let scene = scene(Settings {
        batch_size: 5,
        timeout_ms: 1_500,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, pair("ACCEPTED", "UNCONFIRMED"));
    }
    assert_eq!(
        scene.fastsmsing.seen().len(),
        1,
        "a time-out is never sent again"
    );

    scene.fastsmsing.report(&ids[2..3], Status::Delivered);
    scene.drain().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        let expected = if n == 2 {
            pair("DELIVERED", "SENT")
        } else {
            pair("CONFIRMED", "SENT")
        };
        assert_eq!(look(&scene, id).await, expected);
    }
    assert_eq!(statistics(&scene)[0]["outcome"], "UNKNOWN");
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (
            audit.confirmed_batches,
            audit.unknown_batches,
            audit.provider_requests
        ),
        (1, 0, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_with_an_uncertain_answer_is_never_sent_again() {
    let uncertain = [
        Mishap::ResetAfterAccepting,
        Mishap::Reset,
        Mishap::CutBody,
        Mishap::Unreadable,
        Mishap::BadGateway,
        Mishap::LateAccept { ms: 100 },
        Mishap::SilenceBeforeAccepting,
    ];
    let scene = scene(Settings {
        batch_size: 2,
        timeout_ms: 1_500,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    for mishap in &uncertain {
        scene.fastsmsing.misbehave(mishap.clone());
    }
    let ids = post(&scene, 0, 2 * uncertain.len(), 1).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, pair("ACCEPTED", "UNCONFIRMED"));
    }
    assert_eq!(scene.fastsmsing.seen().len(), uncertain.len());
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (
            audit.confirmed_batches,
            audit.unknown_batches,
            audit.sent_twice
        ),
        (0, uncertain.len(), 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_provider_key_an_unknown_batch_is_settled_by_the_same_request() {
    let mut fastsmsing = by_hand();
    fastsmsing.key_lifetime_s = 3_600;
    let scene = scene(Settings {
        batch_size: 5,
        timeout_ms: 1_500,
        fastsmsing,
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, pair("CONFIRMED", "SENT"));
    }
    assert_eq!(
        (
            scene.fastsmsing.seen().len(),
            scene.fastsmsing.billed_requests()
        ),
        (2, 1)
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_provably_not_sent_is_tried_again() {
    let scene = scene(Settings {
        batch_size: 3,
        attempts_max: 4,
        ..Settings::default()
    })
    .await;
    for mishap in [
        Mishap::ServerError,
        Mishap::TooMany { retry_after_s: 1 },
        Mishap::Busy { retry_after_s: 1 },
    ] {
        scene.fastsmsing.misbehave(mishap);
    }
    post(&scene, 0, 3, 1).await;
    scene.drain().await.unwrap();
    let lines = statistics(&scene);
    assert_eq!(
        (lines.len(), &lines[0]["attempts"], &lines[0]["outcome"]),
        (1, &json!(4), &json!("CONFIRMED"))
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_costs_only_itself() {
    let scene = scene(Settings {
        batch_size: 4,
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::RefuseMessages {
        recipient_suffix: "2".into(),
    });
    let ids = post(&scene, 0, 4, 1).await;
    scene.drain().await.unwrap();
    let refused = scene.shop().message(&ids[2]).await.unwrap();
    assert_eq!(
        (shown(&refused), refused["reason"].as_str()),
        (("FAILED", "NOT_SENT"), Some("REJECTED"))
    );
    assert_eq!(look(&scene, &ids[3]).await, pair("DELIVERED", "SENT"));
    scene.finish().await.unwrap();
}

/// The sizes of the batches that follow a full batch which was refused as a whole. All messages are
/// delivered.
async fn parts_of_a_refused_batch(settings: Settings) -> Vec<usize> {
    let batch_size = settings.batch_size;
    let scene = scene(settings).await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    post(&scene, 0, batch_size, 1).await;
    scene.drain().await.unwrap();
    let sizes = scene.fastsmsing.sizes();
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), batch_size);
    sizes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_goes_out_in_halves() {
    let settings = Settings {
        batch_size: 4,
        ..Settings::default()
    };
    assert_eq!(parts_of_a_refused_batch(settings).await, [2, 2]);
}

/// Slots are too far apart to wait for, so each part of the refused batch is sent by another
/// dispatcher.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_a_slow_provider_refuses_goes_out_in_parts() {
    let settings = Settings {
        batch_size: 2,
        rate_per_s: 0.09,
        ..Settings::default()
    };
    assert_eq!(parts_of_a_refused_batch(settings).await, [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_keeps_the_messages() {
    let scene = scene(Settings {
        batch_size: 3,
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::WrongToken);
    scene.fastsmsing.misbehave(Mishap::Redirect);
    post(&scene, 0, 3, 1).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (3, 1));
}
