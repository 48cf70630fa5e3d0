//! Several providers: equal shares, fail-over of what was provably not sent, and breakers.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::{self, FastSmsing, Mishap, Outcome, Status};
use tests::others::Other;
use tests::scene::{Scene, Settings};

use crate::support::{by_hand, look, post, scene};

fn rivals(weights: &[u32], settings: Settings) -> Settings {
    let rival = |(n, &weight)| Other { weight, batch_size: 5, ..Other::fastsmsing(&format!("rival{}", n + 1)) };
    Settings { batch_size: 5, others: weights.iter().enumerate().map(rival).collect(), ..settings }
}

/// Fails every request, provably without taking it.
fn out_of_order() -> fastsmsing::Options {
    fastsmsing::Options { mix: vec![(1.0, Mishap::ServerError)], ..Default::default() }
}

fn billed(scene: &Scene) -> Vec<usize> {
    scene.fastsmsings().map(FastSmsing::billed_requests).collect()
}

fn apart(counts: &[usize]) -> usize {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

async fn share_equally(others: usize) {
    let scene = scene(rivals(&vec![1; others], Settings::default())).await;
    post(&scene, 0, 150, 16).await;
    scene.drain().await.unwrap();
    let counts = billed(&scene);
    assert!(apart(&counts) <= 1, "{counts:?}");
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
    let scene = scene(rivals(&[3], Settings::default())).await;
    post(&scene, 0, 150, 16).await;
    scene.drain().await.unwrap();
    let counts = billed(&scene);
    assert!(counts[1].abs_diff(3 * counts[0]) <= 3, "{counts:?}");
    scene.finish().await.unwrap();
}

/// What one took nothing of, the other carries, in the same invocation; the one that is out of order is asked until
/// its breaker opens, then by one probe at a time, and when it is back it gets its share and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_one_provider_is_the_others_work() {
    let settings = Settings { fastsmsing: out_of_order(), ..Settings::default() };
    let scene = scene(rivals(&[1], settings)).await;
    let ids = post(&scene, 0, 60, 4).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(scene.shop().message(id).await.unwrap()["provider"], "rival1");
    }
    assert_eq!(scene.fastsmsing.billed_requests(), 0);
    let asked = scene.fastsmsing.seen().len();
    assert!(asked >= 5, "{asked}");

    // Back again: the first batch after the breaker's time probes it.
    let before = billed(&scene);
    scene.fastsmsing.behave();
    let mut next = 60;
    while scene.fastsmsing.billed_requests() == 0 {
        post(&scene, next, next + 5, 1).await;
        scene.drain().await.unwrap();
        next += 5;
    }
    let back = billed(&scene);
    post(&scene, next, next + 100, 4).await;
    scene.drain().await.unwrap();
    let counts: Vec<_> = billed(&scene).iter().zip(&back).map(|(now, back)| now - back).collect();
    assert!(apart(&counts) <= 2, "it is neither flooded nor starved: {counts:?} after {before:?}");
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.lost), (0, 0));
}

/// A time-out is not an error: what one provider may have taken, no other ever gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_sent_is_not_failed_over() {
    let fastsmsing = fastsmsing::Options { mix: vec![(1.0, Mishap::ResetAfterAccepting)], ..by_hand() };
    let scene = scene(rivals(&[1], Settings { fastsmsing, ..Settings::default() })).await;
    let ids = post(&scene, 0, 40, 4).await;
    scene.drain().await.unwrap();
    let mut doubted = 0;
    for id in &ids {
        let message = scene.shop().message(id).await.unwrap();
        if message["provider"] == "fastsmsing" {
            assert_eq!(message["submission"], "UNCONFIRMED");
            assert_eq!(scene.rivals[0].times_sent(id), 0);
            doubted += 1;
        } else {
            assert_eq!(message["submission"], "SENT");
        }
    }
    assert!(doubted > 0);
    scene.finish().await.unwrap();
}

/// Who said that nothing was taken, and then reports a delivery, contradicts the record; but it proves nothing about
/// the batch in which another provider has the message now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_another_provider_is_evidence_and_settles_nothing() {
    let settings = Settings { attempts_max: 1, fastsmsing: by_hand(), ..Settings::default() };
    let mut settings = rivals(&[1], settings);
    settings.others[0].options.updates.automatic = false;
    let scene = scene(settings).await;
    scene.fastsmsing.misbehave(Mishap::ServerError);
    scene.rivals[0].misbehave(Mishap::ResetAfterAccepting);
    let ids = post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    let told = |id: &str| json!({id: "DELIVERED"}).to_string().into_bytes();
    let (_, answer) = scene.report(told(&ids[0])).await.unwrap();
    assert_eq!(answer["results"][0]["result"], "contradicted");
    assert_eq!(look(&scene, &ids[0]).await, ("DELIVERED".into(), "SENT".into()));
    assert_eq!(look(&scene, &ids[1]).await, ("ACCEPTED".into(), "UNCONFIRMED".into()));

    scene.rivals[0].report(&ids[2..3], Status::Delivered);
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &ids[1]).await, ("CONFIRMED".into(), "SENT".into()));
    scene.finish().await.unwrap();
}

/// With one provider only: the messages wait behind the breaker, are not hammered at it, and none is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_an_open_breaker_messages_wait() {
    let settings = Settings { batch_size: 5, fastsmsing: out_of_order(), ..Settings::default() };
    let scene = scene(settings).await;
    post(&scene, 0, 20, 4).await;
    // Until there were some probes, which the breaker keeps a second apart.
    let apart_ms = |scene: &Scene| {
        let asked: Vec<_> = scene.fastsmsing.seen().iter().map(|seen| seen.at_ms).collect();
        asked.windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>()
    };
    let is_probe = |apart_ms: &&i64| **apart_ms >= 900;
    while apart_ms(&scene).iter().filter(is_probe).count() < 3 {
        scene.stack.lines().recv().await.unwrap();
    }
    let apart_ms = apart_ms(&scene);
    // Before them five failures, and what dispatchers had a slot for by then.
    let quiet = apart_ms.iter().position(|apart_ms| is_probe(&apart_ms)).unwrap();
    assert!((4..10).contains(&quiet), "{apart_ms:?}");
    assert!(apart_ms[quiet..].iter().all(|apart_ms| is_probe(&apart_ms)), "{apart_ms:?}");
    scene.fastsmsing.behave();
    scene.drain().await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.stuck), (20, 0));
}

/// DESIGN §7: a wrong token opens the breaker at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_opens_the_breaker_at_once() {
    let scene = scene(rivals(&[1], Settings::default())).await;
    scene.fastsmsing.misbehave(Mishap::WrongToken);
    post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    let seen = scene.fastsmsing.seen();
    assert_eq!(seen.iter().map(|seen| seen.outcome).collect::<Vec<_>>(), [Outcome::Refused(401)]);
    assert_eq!(billed(&scene), [0, 1]);
    scene.finish().await.unwrap();
}

/// No provider can be reached: messages are taken until one has waited too long, then callers are told to wait, and
/// taken again when the first batch got through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_turned_away_when_the_backlog_is_too_old() {
    let settings = Settings { backlog_age_max_s: 3, batch_size: 50, ..Settings::default() };
    let scene = scene(settings).await;
    // Traffic of before, which a look at the record must not take for all there is.
    for n in 0..4 {
        let bulk: Vec<_> = (n * 500..(n + 1) * 500).map(message).collect();
        scene.shop().post_bulk(&bulk, None).await.unwrap();
    }
    scene.drain().await.unwrap();
    for _ in 0..100 {
        scene.fastsmsing.misbehave(Mishap::ServerError);
    }
    let mut taken = BTreeSet::new();
    let refused = loop {
        let response = scene.shop().post(&message(taken.len())).await.unwrap();
        if response.status() != StatusCode::ACCEPTED {
            break response;
        }
        taken.insert(scene.shop().note(response.json().await.unwrap()).unwrap());
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "30");
    assert_eq!(refused.json::<Value>().await.unwrap()["type"], "urn:sms-proxy:problem:backlog");
    assert!(taken.len() >= 5, "{} were taken before", taken.len());
    let (status, _) = scene.shop().post_bulk(&[message(0)], None).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    scene.fastsmsing.behave();
    scene.shop().send(&message(0)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 2_000 + taken.len() + 1);
}

/// A provider that takes no messages of ours, and another one: what it refuses, one by one, ends its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_everything_is_left_alone() {
    let fastsmsing = fastsmsing::Options { mix: vec![(1.0, Mishap::RefuseBatch)], ..Default::default() };
    let mut settings = rivals(&[1], Settings { fastsmsing, open_s: 30, ..Settings::default() });
    settings.batch_size = 1;
    settings.others[0].batch_size = 1;
    let scene = scene(settings).await;
    post(&scene, 0, 40, 4).await;
    scene.drain().await.unwrap();
    let refused = scene.fastsmsing.seen().len();
    assert!((5..=12).contains(&refused), "{refused}");
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered() + refused, 40);
}

/// Whoever has another weight now, or was away, is not given a thousand batches in a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_far_behind_is_not_flooded() {
    let scene = scene(rivals(&[1], Settings::default())).await;
    let standing = |name: &str, assigned: u64| json!({"TableName": "Providers", "Item": {"name": {"S": name}, "version": {"N": "1"}, "assigned": {"N": assigned.to_string()}}});
    for (name, assigned) in [("fastsmsing", 100_000), ("rival1", 7)] {
        scene.stack.dynamo.database.put_item(serde_json::from_value(standing(name, assigned)).unwrap()).unwrap();
    }
    post(&scene, 0, 100, 8).await;
    scene.drain().await.unwrap();
    let counts = billed(&scene);
    assert!(apart(&counts) <= 3, "{counts:?}");
    scene.finish().await.unwrap();
}
