//! The provider's rate limit holds with many dispatchers, and while they stall.

use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::json;
use tests::caller::message;
use tests::fastsmsing::FastSmsing;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::{Instant, sleep};

use crate::support::{Limit, post, scene};
use crate::tally::announce;

const DISPATCHERS: usize = 6;
/// How many of the record's answers come late, so that a dispatcher stalls anywhere in its work.
const STALLED_PERCENT: u32 = 15;
const STALL_MAX_MS: u64 = 1_500;

/// Invokes dispatchers again and again, beside those that the queue invokes.
async fn dispatch_all_the_time(scene: &Scene, until: Instant) {
    let body = json!({"ids": [], "full": true}).to_string();
    let event = json!({"Records": [{"messageId": "1", "body": body}]});
    join_all((0..DISPATCHERS).map(|_| async {
        while Instant::now() < until {
            let _ = scene.stack.invoke("dispatch", event.clone()).await;
            sleep(Duration::from_millis(10)).await;
        }
    }))
    .await;
}

/// Asserts that no two requests of stalling dispatchers come closer than the rate allows.
async fn keep_the_rate(rate_per_s: f64, seconds: u64) {
    let settings = Settings {
        batch_size: 1,
        window_s: 0,
        rate_per_s,
        ..Settings::default()
    };
    let scene = scene(settings).await;
    let messages = (rate_per_s * seconds as f64) as usize + DISPATCHERS;
    post(&scene, 0, messages, 16).await;
    let chance = std::sync::Mutex::new(Rng::with_seed(7));
    scene.stack.dynamo_wire.set_rule(move |_| {
        let mut chance = chance.lock().unwrap();
        if chance.u32(..100) < STALLED_PERCENT {
            Fault::DelayMs(chance.u64(..STALL_MAX_MS))
        } else {
            Fault::Pass
        }
    });
    let until = Instant::now() + Duration::from_secs(seconds);
    dispatch_all_the_time(&scene, until).await;
    scene.stack.dynamo_wire.clear_rule();

    let arrived_ms: Vec<_> = scene
        .fastsmsings()
        .flat_map(FastSmsing::seen)
        .map(|seen| seen.at_ms)
        .collect();
    let least_ms = arrived_ms
        .windows(2)
        .map(|two| two[1] - two[0])
        .min()
        .unwrap();
    announce(&format!(
        "rate limit: {} requests by {DISPATCHERS} dispatchers and more in {seconds} s \
         at {rate_per_s}/s, the closest {least_ms} ms apart",
        arrived_ms.len()
    ));
    assert!(least_ms as f64 >= 1_000.0 / rate_per_s, "{arrived_ms:?}");
    drop(scene.without_audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalling_dispatchers_keep_two_requests_a_second() {
    keep_the_rate(2.0, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn stalling_dispatchers_keep_one_request_a_second_for_a_minute() {
    keep_the_rate(1.0, 60).await;
}

/// The backlog is far more than the provider accepts in a minute. No bell reaches the dead-letter
/// queue while it waits, and the rate holds all the time.
async fn drain_a_backlog(messages: usize, rate_per_s: f64) {
    const BULK: usize = 500;
    let scene = scene(Settings {
        rate_per_s,
        window_s: 20,
        ..Settings::default()
    })
    .await;
    for n in 0..messages / BULK {
        let bulk: Vec<_> = (n * BULK..(n + 1) * BULK).map(message).collect();
        scene.shop().send_bulk(&bulk).await.unwrap();
    }
    let limit = Limit::of("the backlog to drain");
    while scene.fastsmsing.sizes().iter().sum::<usize>() < messages {
        limit.check();
        sleep(Duration::from_secs(1)).await;
    }
    let arrived_ms: Vec<_> = scene
        .fastsmsing
        .seen()
        .iter()
        .map(|seen| seen.at_ms)
        .collect();
    let least_ms = arrived_ms
        .windows(2)
        .map(|two| two[1] - two[0])
        .min()
        .unwrap();
    let dead = scene.stack.sqs.counters("DeadBells").await.unwrap();
    announce(&format!(
        "backlog: {messages} messages in {} requests at {rate_per_s}/s, \
         the closest {least_ms} ms apart; dead bells {dead:?}",
        arrived_ms.len()
    ));
    assert!(dead.is_empty(), "{dead:?}");
    assert!(least_ms as f64 >= 1_000.0 / rate_per_s, "{least_ms} ms");
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (audit.delivered(), audit.provider_requests),
        (messages, messages.div_ceil(100))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_drains_at_the_rate_and_no_bell_dies() {
    drain_a_backlog(2_000, 4.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes five minutes"]
async fn a_backlog_of_20_000_drains_at_one_request_a_second_and_no_bell_dies() {
    drain_a_backlog(20_000, 1.0).await;
}
