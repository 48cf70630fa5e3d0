//! What fails, and what then must not happen: never a second send, never a lost message.

use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::caller::message;
use tests::fastsmsing::{Mishap, Status};
use tests::scene::Settings;
use tests::wire::Fault;

use crate::support::{by_hand, look, post, scene, short_lived, shown, statistics};

const PAIR: fn(&str, &str) -> (String, String) = |status, submission| (status.to_owned(), submission.to_owned());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_is_sent_but_not_confirmed_until_one_report_settles_the_whole_batch() {
    let scene =
        scene(Settings { batch_size: 5, timeout_ms: 1_500, fastsmsing: by_hand(), ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, PAIR("ACCEPTED", "UNCONFIRMED"));
    }
    assert_eq!(scene.fastsmsing.seen().len(), 1, "a time-out is never sent again");

    scene.fastsmsing.report(&ids[2..3], Status::Delivered);
    scene.drain().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        let expected = if n == 2 { PAIR("DELIVERED", "SENT") } else { PAIR("CONFIRMED", "SENT") };
        assert_eq!(look(&scene, id).await, expected);
    }
    assert_eq!(statistics(&scene)[0]["outcome"], "UNKNOWN");
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.confirmed_batches, audit.unknown_batches, audit.provider_requests), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_leaves_the_provider_s_answer_in_doubt_is_never_sent_again() {
    let doubtful = [
        Mishap::ResetAfterAccepting,
        Mishap::Reset,
        Mishap::CutBody,
        Mishap::Unreadable,
        Mishap::BadGateway,
        Mishap::LateAccept { ms: 100 },
        Mishap::SilenceBeforeAccepting,
    ];
    let scene =
        scene(Settings { batch_size: 2, timeout_ms: 1_500, fastsmsing: by_hand(), ..Settings::default() }).await;
    for mishap in &doubtful {
        scene.fastsmsing.misbehave(mishap.clone());
    }
    let ids = post(&scene, 0, 2 * doubtful.len(), 1).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, PAIR("ACCEPTED", "UNCONFIRMED"));
    }
    assert_eq!(scene.fastsmsing.seen().len(), doubtful.len());
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.confirmed_batches, audit.unknown_batches, audit.sent_twice), (0, doubtful.len(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_provider_key_a_doubt_is_settled_by_the_same_request() {
    let mut fastsmsing = by_hand();
    fastsmsing.key_lifetime_s = 3_600;
    let scene = scene(Settings { batch_size: 5, timeout_ms: 1_500, fastsmsing, ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, PAIR("CONFIRMED", "SENT"));
    }
    assert_eq!((scene.fastsmsing.seen().len(), scene.fastsmsing.billed_requests()), (2, 1));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_provably_not_sent_is_tried_again() {
    let scene = scene(Settings { batch_size: 3, attempts_max: 4, ..Settings::default() }).await;
    for mishap in [Mishap::ServerError, Mishap::TooMany { retry_after_s: 1 }, Mishap::Busy { retry_after_s: 1 }] {
        scene.fastsmsing.misbehave(mishap);
    }
    post(&scene, 0, 3, 1).await;
    scene.drain().await.unwrap();
    let lines = statistics(&scene);
    assert_eq!((lines.len(), &lines[0]["attempts"], &lines[0]["outcome"]), (1, &json!(4), &json!("CONFIRMED")));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_costs_only_itself() {
    let scene = scene(Settings { batch_size: 4, ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::RefuseMessages { recipient_suffix: "2".into() });
    let ids = post(&scene, 0, 4, 1).await;
    scene.drain().await.unwrap();
    let refused = scene.shop().message(&ids[2]).await.unwrap();
    assert_eq!((shown(&refused), refused["reason"].as_str()), (("FAILED", "NOT_SENT"), Some("REJECTED")));
    assert_eq!(look(&scene, &ids[3]).await, PAIR("DELIVERED", "SENT"));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_goes_out_in_halves() {
    let scene = scene(Settings { batch_size: 4, ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    post(&scene, 0, 4, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(scene.fastsmsing.sizes(), [2, 2]);
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 4);
}

/// Where no slot is near enough to wait for, every part of a refused batch is carried by another dispatcher.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_goes_out_in_parts_also_at_a_slow_provider() {
    let scene = scene(Settings { batch_size: 2, rate_per_s: 0.09, ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    post(&scene, 0, 2, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(scene.fastsmsing.sizes(), [1, 1]);
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_keeps_the_messages() {
    let scene = scene(Settings { batch_size: 3, ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::WrongToken);
    scene.fastsmsing.misbehave(Mishap::Redirect);
    post(&scene, 0, 3, 1).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_failing_before_the_provider_call_sends_nothing_and_loses_nothing() {
    let scene = scene(Settings { batch_size: 5, visibility_timeout_s: Some(2), ..Settings::default() }).await;
    // Every write of an intent fails, on the way there or on the way back.
    let puts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&puts);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let intent =
            seen.operation.as_deref() == Some("PutItem") && String::from_utf8_lossy(&seen.body).contains("STARTED");
        match intent.then(|| counted.fetch_add(1, Ordering::SeqCst)) {
            None => Fault::Pass,
            Some(n) if n % 2 == 0 => Fault::DropRequest,
            Some(_) => Fault::DropAnswer,
        }
    });
    post(&scene, 0, 5, 1).await;
    while puts.load(Ordering::SeqCst) < 6 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(scene.fastsmsing.seen().len(), 0, "nothing is sent before its intent is written");
    scene.stack.dynamo_wire.clear_rule();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (5, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_failing_after_the_provider_call_never_sends_again() {
    let scene = scene(Settings { batch_size: 5, fastsmsing: by_hand(), ..short_lived() }).await;
    // From the provider's answer on, no batch can be settled.
    scene.stack.dynamo_wire.set_rule(|seen| {
        let body = String::from_utf8_lossy(&seen.body);
        let settles = seen.operation.as_deref() == Some("UpdateItem") && body.contains("\"Batches\"");
        if settles { Fault::DropRequest } else { Fault::Pass }
    });
    let ids = post(&scene, 0, 5, 1).await;
    while scene.fastsmsing.billed_requests() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(look(&scene, &ids[0]).await, PAIR("ACCEPTED", "SENDING"));
    // Another batch does not take them along.
    post(&scene, 5, 10, 1).await;
    while scene.fastsmsing.billed_requests() == 1 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    scene.stack.dynamo_wire.clear_rule();
    // The bells come back until their couriers are known to be gone: what they left behind is in doubt.
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, PAIR("ACCEPTED", "UNCONFIRMED"));
    }
    scene.fastsmsing.report(&ids[..1], Status::Confirmed);
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, PAIR("CONFIRMED", "SENT"));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.provider_requests), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_the_record_are_recognised_as_our_own_writes() {
    let scene = scene(Settings { batch_size: 10, visibility_timeout_s: Some(2), ..Settings::default() }).await;
    // Every other request is carried out, and its answer lost: the SDK repeats it, once.
    let count = AtomicUsize::new(0);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let first = seen.headers["amz-sdk-request"].to_str().unwrap().starts_with("attempt=1");
        match first && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            true => Fault::DropAnswer,
            false => Fault::Pass,
        }
    });
    post(&scene, 0, 60, 4).await;
    scene.drain().await.unwrap();
    scene.stack.dynamo_wire.clear_rule();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (60, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_failing_on_post_is_a_503_and_nothing_is_sent() {
    let scene = scene(Settings::default()).await;
    scene.stack.dynamo_wire.set_rule(|seen| match seen.operation.as_deref() {
        Some("PutItem") => {
            Fault::Status(500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#.into())
        }
        _ => Fault::Pass,
    });
    let response = scene.shop().post_with(&message(1), &[("Idempotency-Key", "order-1")]).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    scene.drain().await.unwrap();
    assert_eq!(scene.fastsmsing.seen().len(), 0);

    scene.stack.dynamo_wire.clear_rule();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let response = scene.shop().post_with(&message(1), &[("Idempotency-Key", "order-1")]).await.unwrap();
        assert_eq!(response.status().as_u16(), 202);
        answers.push(response.json::<serde_json::Value>().await.unwrap()["id"].clone());
    }
    assert_eq!(answers[0], answers[1], "a repeat with the same key makes no second message");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_failing_on_post_is_a_202_and_another_bell_sends_the_message() {
    let scene = scene(Settings::default()).await;
    scene.stack.sqs_wire.set_rule(|_| Fault::DropRequest);
    let quiet = scene.shop().send(&message(1)).await.unwrap();
    scene.stack.sqs_wire.clear_rule();
    assert_eq!(look(&scene, &quiet).await, PAIR("ACCEPTED", "QUEUED"));
    scene.shop().send(&message(2)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_killed_while_it_waits_for_the_provider_sends_nothing_twice() {
    let scene = scene(Settings { batch_size: 5, fastsmsing: by_hand(), ..short_lived() }).await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    while scene.fastsmsing.billed_requests() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    scene.stack.kill_all("dispatch").await;
    scene.drain().await.unwrap();
    scene.fastsmsing.report(&ids[..1], Status::Delivered);
    scene.drain().await.unwrap();
    for id in &ids[1..] {
        assert_eq!(look(&scene, id).await, PAIR("CONFIRMED", "SENT"));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.provider_requests, audit.unknown_batches), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_killed_between_claim_and_intent_loses_nothing() {
    let scene = scene(Settings { batch_size: 5, ..short_lived() }).await;
    // The intent arrives when its courier is long dead and its messages have gone out with another batch.
    scene.stack.dynamo_wire.set_rule(|seen| {
        let intent =
            seen.operation.as_deref() == Some("PutItem") && String::from_utf8_lossy(&seen.body).contains("STARTED");
        if intent { Fault::DelayMs(15_000) } else { Fault::Pass }
    });
    let ids = post(&scene, 0, 5, 1).await;
    while look(&scene, &ids[0]).await != PAIR("ACCEPTED", "SENDING") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    scene.stack.kill_all("dispatch").await;
    scene.stack.dynamo_wire.clear_rule();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (5, 0));
}
