//! Few, full batches: the provider bills each request, and not each message.

use jiff::SignedDuration;
use tests::baselines::optimum_requests;
use tests::caller::message;
use tests::demo::arrivals_ms;
use tests::event_source::Redelivery;
use tests::fastsmsing::{self, UpdateOptions};
use tests::scene::Settings;
use tokio::time::{Duration, interval};

use crate::support::{look, post, scene, wait_for_requests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_from_32_callers_go_out_in_at_most_eleven_requests() {
    // The window is longer than the posting takes, even on a slow machine.
    let scene = scene(Settings {
        window_s: 30,
        ..Settings::default()
    })
    .await;
    post(&scene, 0, 1_000, 32).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (audit.accepted, audit.delivered(), audit.sent_twice),
        (1_000, 1_000, 0)
    );
    assert!(
        audit.provider_requests <= 11,
        "{} requests",
        audit.provider_requests
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_batch_does_not_wait_for_the_window() {
    // The window is the longest that is allowed, and the posting takes less on any machine.
    let scene = scene(Settings {
        window_s: 900,
        ..Settings::default()
    })
    .await;
    let ids = post(&scene, 0, 250, 1).await;
    wait_for_requests(&scene, 2).await;
    assert_eq!(scene.fastsmsing.sizes(), [100, 100]);
    for id in &ids[200..] {
        assert_eq!(look(&scene, id).await, ("ACCEPTED".into(), "QUEUED".into()));
    }
    // The other messages would wait for a quarter of an hour.
    drop(scene.without_audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for a window of a minute"]
async fn a_full_batch_does_not_wait_for_a_window_of_a_minute_and_the_rest_does() {
    let window_s = 60;
    let scene = scene(Settings {
        window_s,
        ..Settings::default()
    })
    .await;
    let ids = post(&scene, 0, 250, 1).await;
    scene.drain().await.unwrap();

    let created = arrivals_ms(&ids);
    let ledger = scene.fastsmsing.ledger();
    let sizes: Vec<_> = ledger.iter().map(|billed| billed.messages.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let sent_ms: Vec<_> = ledger
        .iter()
        .map(|billed| billed.at.as_millisecond() as u64)
        .collect();
    let window_ms = u64::from(window_s) * 1_000;
    assert!(
        sent_ms[0] < created[0] + window_ms,
        "the first batch waited for its window"
    );
    assert!(
        sent_ms[1] < created[100] + window_ms,
        "the second batch waited for its window"
    );
    assert!(
        sent_ms[2] >= created[200] + window_ms,
        "the third batch did not wait for its window"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_messages_a_second_with_a_window_of_two_seconds_share_their_requests() {
    // As many messages in each window as at one a second with 20 s, in a tenth of the time.
    share_requests(10, 2, 80, 0.75).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes of real time"]
async fn one_message_a_second_with_a_window_of_20_s_goes_out_in_batches_of_19_or_more() {
    share_requests(1, 20, 105, 0.9).await;
}

/// Posts at an even pace. The requests have to hold at least this share of the messages that the
/// requests of an optimal plan hold.
async fn share_requests(rate_per_s: u64, window_s: u32, messages: usize, share: f64) {
    let scene = scene(Settings {
        window_s,
        ..Settings::default()
    })
    .await;
    let mut tick = interval(Duration::from_millis(1_000 / rate_per_s));
    for n in 0..messages {
        tick.tick().await;
        scene.shop().send(&message(n)).await.unwrap();
    }
    scene.drain().await.unwrap();
    let optimum = optimum_requests(
        &arrivals_ms(&scene.accepted_ids()),
        100,
        u64::from(window_s) * 1_000,
    );
    let audit = scene.finish().await.unwrap();
    let per_request = messages as f64 / audit.provider_requests as f64;
    eprintln!(
        "{per_request:.1} messages per request, {} requests, optimum {optimum}",
        audit.provider_requests
    );
    assert!(
        audit.provider_requests as f64 * share <= optimum as f64,
        "{} requests, optimum {optimum}",
        audit.provider_requests
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_and_shuffled_bells_and_updates_change_nothing() {
    let updates = UpdateOptions {
        repeats: 3,
        shuffled: true,
        reversed: true,
        unknown: 5,
        failing_suffix: Some("7".into()),
        ..Default::default()
    };
    let scene = scene(Settings {
        redelivery: Some(Redelivery {
            deliveries: 3,
            seed: 7,
        }),
        fastsmsing: fastsmsing::Options {
            updates,
            seed: 7,
            ..Default::default()
        },
        ..Settings::default()
    })
    .await;
    let ids = post(&scene, 0, 200, 8).await;
    scene.drain().await.unwrap();
    for (n, message) in scene
        .shop()
        .list(1_000)
        .await
        .unwrap()
        .iter()
        .rev()
        .enumerate()
    {
        let recipient = message["recipient"].as_str().unwrap();
        let expected = if recipient.ends_with('7') {
            "FAILED"
        } else {
            "DELIVERED"
        };
        assert_eq!(
            (
                message["status"].as_str().unwrap(),
                message["submission"].as_str().unwrap()
            ),
            (expected, "SENT"),
            "{n}: {message}"
        );
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.accepted, audit.sent_twice), (ids.len(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_sees_no_more_requests_than_its_rate_allows() {
    let scene = scene(Settings {
        batch_size: 5,
        rate_per_s: 2.0,
        ..Settings::default()
    })
    .await;
    post(&scene, 0, 40, 8).await;
    scene.drain().await.unwrap();
    let mut at_ms: Vec<_> = scene
        .fastsmsing
        .seen()
        .iter()
        .map(|seen| seen.at_ms)
        .collect();
    at_ms.sort_unstable();
    let rate = SignedDuration::from_millis(500).as_millis();
    let (requests, took_ms) = (
        at_ms.len() as i128,
        i128::from(at_ms[at_ms.len() - 1] - at_ms[0]),
    );
    // The requests are timed together, because the machine may delay any single one of them.
    assert!(
        took_ms >= (requests - 1) * rate,
        "{requests} requests in {took_ms} ms"
    );
    scene.finish().await.unwrap();
}
