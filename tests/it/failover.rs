//! Several providers: equal shares, failover of what was provably not sent, and circuit breakers.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::{self, FastSmsing, Mishap, Outcome, Status};
use tests::providers::ExtraProvider;
use tests::scene::{Scene, Settings};

use crate::support::{Limit, by_hand, look, post, put, scene};

fn backups(weights: &[u32], settings: Settings) -> Settings {
    let backup = |(n, &weight)| ExtraProvider {
        weight,
        batch_size: 5,
        ..ExtraProvider::fastsmsing(&format!("backup{}", n + 1))
    };
    Settings {
        batch_size: 5,
        extra_providers: weights.iter().enumerate().map(backup).collect(),
        ..settings
    }
}

/// Answers every request with an error, which proves that nothing was sent.
fn out_of_order() -> fastsmsing::Options {
    fastsmsing::Options {
        mix: vec![(1.0, Mishap::ServerError)],
        ..Default::default()
    }
}

fn billed(scene: &Scene) -> Vec<usize> {
    scene
        .fastsmsings()
        .map(FastSmsing::billed_requests)
        .collect()
}

/// The difference between the largest and the smallest share.
fn spread(counts: &[usize]) -> usize {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

async fn share_equally(extra_providers: usize) {
    let scene = scene(backups(&vec![1; extra_providers], Settings::default())).await;
    post(&scene, 0, 150, 16).await;
    scene.drain().await.unwrap();
    let counts = billed(&scene);
    assert!(spread(&counts) <= 1, "{counts:?}");
    assert!(counts.iter().sum::<usize>() >= 30);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_providers_carry_equal_shares() {
    share_equally(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_providers_carry_equal_shares() {
    share_equally(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weight_is_a_share() {
    let scene = scene(backups(&[3], Settings::default())).await;
    post(&scene, 0, 150, 16).await;
    scene.drain().await.unwrap();
    let counts = billed(&scene);
    assert!(counts[1].abs_diff(3 * counts[0]) <= 3, "{counts:?}");
    scene.finish().await.unwrap();
}

/// What one provider did not accept, the other sends in the same invocation. The provider that
/// fails gets requests until its breaker opens, then one probe at a time. When it recovers, it gets
/// its share and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_an_outage_of_one_provider_the_other_sends_everything() {
    let settings = Settings {
        fastsmsing: out_of_order(),
        ..Settings::default()
    };
    let scene = scene(backups(&[1], settings)).await;
    let ids = post(&scene, 0, 60, 4).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(
            scene.shop().message(id).await.unwrap()["provider"],
            "backup1"
        );
    }
    assert_eq!(scene.fastsmsing.billed_requests(), 0);
    let asked = scene.fastsmsing.seen().len();
    assert!(asked >= 5, "{asked}");

    // It works again: once the breaker is half open, the first batch is a probe.
    let before = billed(&scene);
    scene.fastsmsing.behave();
    let mut next = 60;
    let limit = Limit::of("a request to the provider that is back");
    while scene.fastsmsing.billed_requests() == 0 {
        limit.check();
        post(&scene, next, next + 5, 1).await;
        scene.drain().await.unwrap();
        next += 5;
    }
    let recovered = billed(&scene);
    post(&scene, next, next + 100, 4).await;
    scene.drain().await.unwrap();
    let counts: Vec<_> = billed(&scene)
        .iter()
        .zip(&recovered)
        .map(|(now, recovered)| now - recovered)
        .collect();
    assert!(
        spread(&counts) <= 2,
        "it is neither flooded nor starved: {counts:?} after {before:?}"
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.lost), (0, 0));
}

/// A time-out is not an error: no provider gets a message that another one may have accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_sent_is_not_failed_over() {
    let fastsmsing = fastsmsing::Options {
        mix: vec![(1.0, Mishap::ResetAfterAccepting)],
        ..by_hand()
    };
    let scene = scene(backups(
        &[1],
        Settings {
            fastsmsing,
            ..Settings::default()
        },
    ))
    .await;
    let ids = post(&scene, 0, 40, 4).await;
    scene.drain().await.unwrap();
    let mut unconfirmed = 0;
    for id in &ids {
        let message = scene.shop().message(id).await.unwrap();
        if message["provider"] == "fastsmsing" {
            assert_eq!(message["submission"], "UNCONFIRMED");
            assert_eq!(scene.backups[0].times_sent(id), 0);
            unconfirmed += 1;
        } else {
            assert_eq!(message["submission"], "SENT");
        }
    }
    assert!(unconfirmed > 0);
    scene.finish().await.unwrap();
}

/// A provider that answered with an error and then reports a delivery contradicts the record. Its
/// report proves nothing about the batch in which another provider has the message now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_another_provider_is_evidence_and_settles_nothing() {
    let settings = Settings {
        attempts_max: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    };
    let mut settings = backups(&[1], settings);
    settings.extra_providers[0].options.updates.automatic = false;
    let scene = scene(settings).await;
    scene.fastsmsing.misbehave(Mishap::ServerError);
    scene.backups[0].misbehave(Mishap::ResetAfterAccepting);
    let ids = post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    let delivered = |id: &str| json!({id: "DELIVERED"}).to_string().into_bytes();
    let (_, answer) = scene.report(delivered(&ids[0])).await.unwrap();
    assert_eq!(answer["results"][0]["result"], "contradicted");
    assert_eq!(
        look(&scene, &ids[0]).await,
        ("DELIVERED".into(), "SENT".into())
    );
    assert_eq!(
        look(&scene, &ids[1]).await,
        ("ACCEPTED".into(), "UNCONFIRMED".into())
    );

    scene.backups[0].report(&ids[2..3], Status::Delivered);
    scene.drain().await.unwrap();
    assert_eq!(
        look(&scene, &ids[1]).await,
        ("CONFIRMED".into(), "SENT".into())
    );
    scene.finish().await.unwrap();
}

/// With a single provider, messages wait while its breaker is open: it gets probes only, and no
/// message is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_while_the_breaker_of_the_only_provider_is_open() {
    let settings = Settings {
        batch_size: 5,
        fastsmsing: out_of_order(),
        ..Settings::default()
    };
    let scene = scene(settings).await;
    post(&scene, 0, 20, 4).await;
    // Waits for three probes, which the breaker keeps a second apart.
    let gaps_ms = |scene: &Scene| {
        let at_ms: Vec<_> = scene
            .fastsmsing
            .seen()
            .iter()
            .map(|seen| seen.at_ms)
            .collect();
        at_ms
            .windows(2)
            .map(|two| two[1] - two[0])
            .collect::<Vec<_>>()
    };
    let is_probe = |gap_ms: &&i64| **gap_ms >= 900;
    let limit = Limit::of("three probes");
    while gaps_ms(&scene).iter().filter(is_probe).count() < 3 {
        limit.check();
        scene.stack.lines().recv().await.unwrap();
    }
    let gaps_ms = gaps_ms(&scene);
    // Before the probes there are five failures, and requests that had a slot by then.
    let first_probe = gaps_ms.iter().position(|gap_ms| is_probe(&gap_ms)).unwrap();
    assert!((4..10).contains(&first_probe), "{gaps_ms:?}");
    assert!(
        gaps_ms[first_probe..]
            .iter()
            .all(|gap_ms| is_probe(&gap_ms)),
        "{gaps_ms:?}"
    );
    scene.fastsmsing.behave();
    scene.drain().await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.stuck), (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_opens_the_breaker_at_once() {
    let scene = scene(backups(&[1], Settings::default())).await;
    scene.fastsmsing.misbehave(Mishap::WrongToken);
    post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    let seen = scene.fastsmsing.seen();
    assert_eq!(
        seen.iter().map(|seen| seen.outcome).collect::<Vec<_>>(),
        [Outcome::Refused(401)]
    );
    assert_eq!(billed(&scene), [0, 1]);
    scene.finish().await.unwrap();
}

/// While no provider works, messages are accepted until one has waited too long. Then callers get a
/// 503, until a batch is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_turned_away_when_the_backlog_is_too_old() {
    let settings = Settings {
        backlog_age_max_s: 3,
        batch_size: 50,
        ..Settings::default()
    };
    let scene = scene(settings).await;
    // Older messages fill whole pages of the record, and the look for the oldest waiting one must
    // read past them.
    for n in 0..4 {
        let bulk: Vec<_> = (n * 500..(n + 1) * 500).map(message).collect();
        scene.shop().send_bulk(&bulk).await.unwrap();
    }
    scene.drain().await.unwrap();
    for _ in 0..100 {
        scene.fastsmsing.misbehave(Mishap::ServerError);
    }
    let mut accepted = BTreeSet::new();
    let limit = Limit::of("a refusal");
    let refused = loop {
        limit.check();
        let response = scene.shop().post(&message(accepted.len())).await.unwrap();
        if response.status() != StatusCode::ACCEPTED {
            break response;
        }
        let answer = response.json().await.unwrap();
        accepted.insert(scene.shop().note_accepted(answer).unwrap());
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "30");
    assert_eq!(
        refused.json::<Value>().await.unwrap()["type"],
        "urn:sms-proxy:problem:backlog"
    );
    assert!(
        accepted.len() >= 5,
        "{} were accepted before",
        accepted.len()
    );
    let (status, _) = scene.shop().post_bulk(&[message(0)], None).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    scene.fastsmsing.behave();
    scene.shop().send(&message(0)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 2_000 + accepted.len() + 1);
}

/// One of two providers refuses every message singly, which opens its breaker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_everything_gets_no_more_messages() {
    let fastsmsing = fastsmsing::Options {
        mix: vec![(1.0, Mishap::RefuseBatch)],
        ..Default::default()
    };
    let mut settings = backups(
        &[1],
        Settings {
            fastsmsing,
            open_s: 30,
            ..Settings::default()
        },
    );
    settings.batch_size = 1;
    settings.extra_providers[0].batch_size = 1;
    let scene = scene(settings).await;
    post(&scene, 0, 40, 4).await;
    scene.drain().await.unwrap();
    let refused = scene.fastsmsing.seen().len();
    assert!((5..=12).contains(&refused), "{refused}");
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered() + refused, 40);
}

/// A provider whose weight changed, or which returns after a while, does not get a thousand batches
/// in a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_far_below_its_share_is_not_flooded() {
    let scene = scene(backups(&[1], Settings::default())).await;
    for (name, assigned) in [("fastsmsing", "100000"), ("backup1", "7")] {
        let state = json!({
            "name": {"S": name}, "version": {"N": "1"}, "assigned": {"N": assigned}
        });
        put(&scene.stack.dynamo.database, "Providers", &state);
    }
    post(&scene, 0, 100, 8).await;
    scene.drain().await.unwrap();
    let counts = billed(&scene);
    assert!(spread(&counts) <= 3, "{counts:?}");
    scene.finish().await.unwrap();
}
