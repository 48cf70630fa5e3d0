//! One test per sentence of the seed documents that the main path covers, named so that one finds the sentence.
//! Seed 0 is the record, seed 1 the proxy, seed 2 the processor, seed 3 the texting service.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::{self, Mishap, Outcome, Status, UpdateOptions};
use tests::scene::Settings;
use tests::wire::Fault;

use crate::support::{by_hand, look, post, scene, shown, statistics};

fn pair(status: &str, submission: &str) -> (String, String) {
    (status.to_owned(), submission.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_0_if_the_provider_returns_a_200_ok_that_should_be_recorded() {
    let scene = scene(Settings { batch_size: 1, fastsmsing: by_hand(), ..Settings::default() }).await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, pair("CONFIRMED", "SENT"));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_0_if_the_provider_returns_an_error_the_record_should_show_that_the_message_was_not_sent() {
    let scene = scene(Settings { batch_size: 1, attempts_max: 1, ..Settings::default() }).await;
    for _ in 0..3 {
        scene.fastsmsing.misbehave(Mishap::ServerError);
    }
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let message = scene.shop().message(&id).await.unwrap();
    assert_eq!((shown(&message), message["reason"].as_str()), (("FAILED", "NOT_SENT"), Some("PROVIDER_ERROR")));
    assert_eq!(scene.fastsmsing.billed_requests(), 0);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_0_if_the_provider_timed_out_the_message_should_be_recorded_as_sent_but_not_confirmed() {
    let scene =
        scene(Settings { batch_size: 1, timeout_ms: 1_500, fastsmsing: by_hand(), ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, pair("ACCEPTED", "UNCONFIRMED"));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.unknown_batches), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_0_an_error_checking_the_record_is_not_as_important_as_an_error_in_sending() {
    let scene = scene(Settings::default()).await;
    scene.stack.dynamo_wire.set_rule(|seen| match seen.operation.as_deref() {
        Some("GetItem") => Fault::DropRequest,
        _ => Fault::Pass,
    });
    let id = scene.shop().send(&message(1)).await.unwrap();
    let (status, problem) = scene.shop().get(&format!("/messages/{id}")).await.unwrap();
    assert_eq!((status, &problem["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(503)));
    scene.drain().await.unwrap();
    assert_eq!(scene.fastsmsing.billed_requests(), 1, "a failing read never stops the sending");
    scene.stack.dynamo_wire.clear_rule();
    assert_eq!(look(&scene, &id).await, pair("DELIVERED", "SENT"));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_0_get_messages_will_return_all_the_messages() {
    let scene = scene(Settings::default()).await;
    let mut ids = post(&scene, 0, 30, 3).await;
    let listed = scene.shop().list(1_000).await.unwrap();
    let mut listed: Vec<_> = listed.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    listed.sort();
    assert_eq!(listed, ids);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_post_queues_a_message_and_get_shows_each_of_the_five_statuses() {
    let scene = scene(Settings { batch_size: 3, fastsmsing: by_hand(), ..Settings::default() }).await;
    let ids = post(&scene, 0, 2, 1).await;
    assert_eq!(look(&scene, &ids[0]).await, pair("ACCEPTED", "QUEUED"));
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &ids[0]).await.0, "CONFIRMED");
    scene.fastsmsing.report(&ids[..1], Status::Delivered);
    scene.fastsmsing.report(&ids[1..], Status::Failed);
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &ids[0]).await, pair("DELIVERED", "SENT"));
    assert_eq!(look(&scene, &ids[1]).await, pair("FAILED", "SENT"));
    let never = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57";
    let (status, answer) = scene.shop().get(&format!("/messages/{never}")).await.unwrap();
    assert_eq!((status, answer), (StatusCode::NOT_FOUND, json!({"id": never, "status": "NOT_FOUND"})));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_if_the_given_message_already_exists_return_an_error() {
    let scene = scene(Settings::default()).await;
    let key = [("Idempotency-Key", "order-7")];
    let first: Value = scene.shop().post_with(&message(1), &key).await.unwrap().json().await.unwrap();
    let again = scene.shop().post_with(&message(1), &key).await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["idempotent-replayed"].to_str().unwrap()), (202, "true"));
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    let other = scene.shop().post_with(&message(2), &key).await.unwrap();
    assert_eq!(other.status().as_u16(), 409);
    assert_eq!(other.json::<Value>().await.unwrap()["field"], "Idempotency-Key");
    // Another client's key is another key.
    assert_eq!(scene.stall().post_with(&message(2), &key).await.unwrap().status().as_u16(), 202);
    scene.drain().await.unwrap();
    assert_eq!(scene.fastsmsing.ledger().iter().map(|billed| billed.messages.len()).sum::<usize>(), 2);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_final_statuses_cannot_be_overwritten() {
    let scene = scene(Settings { batch_size: 1, fastsmsing: by_hand(), ..Settings::default() }).await;
    let id = [scene.shop().send(&message(1)).await.unwrap()];
    scene.drain().await.unwrap();
    for status in [Status::Delivered, Status::Failed, Status::Confirmed] {
        scene.fastsmsing.report(&id, status);
        scene.drain().await.unwrap();
        assert_eq!(look(&scene, &id[0]).await, pair("DELIVERED", "SENT"));
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_if_the_number_of_messages_is_the_batch_size_send_a_batch() {
    // The window is the longest there is: only a full batch can go out.
    let scene = scene(Settings { batch_size: 10, window_s: 900, ..Settings::default() }).await;
    post(&scene, 0, 10, 1).await;
    while scene.fastsmsing.billed_requests() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(scene.fastsmsing.sizes(), [10]);
    // The other nine bells ring in a quarter of an hour, for nothing.
    drop(scene.untold());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_try_sending_each_batch_at_the_max_attempts_number_of_times() {
    let scene = scene(Settings { batch_size: 2, attempts_max: 3, ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::ServerError);
    scene.fastsmsing.misbehave(Mishap::ServerError);
    post(&scene, 0, 2, 1).await;
    scene.drain().await.unwrap();
    let outcomes: Vec<_> = scene.fastsmsing.seen().iter().map(|seen| seen.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Refused(500), Outcome::Refused(500), Outcome::Billed],
        "and a healthy provider only once"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_whenever_a_batch_is_sent_or_failed_send_statistics_with_the_last_error() {
    let scene = scene(Settings { batch_size: 2, attempts_max: 2, ..Settings::default() }).await;
    for mishap in [Mishap::BadGateway, Mishap::ServerError] {
        scene.fastsmsing.misbehave(mishap);
    }
    post(&scene, 0, 4, 1).await;
    scene.drain().await.unwrap();
    let lines = statistics(&scene);
    let said: Vec<_> = lines.iter().map(|line| (&line["outcome"], &line["attempts"], &line["messages"])).collect();
    assert_eq!(said, [(&json!("UNKNOWN"), &json!(1), &json!(2)), (&json!("CONFIRMED"), &json!(2), &json!(2))]);
    assert_eq!((&lines[0]["http_status"], lines[0]["last_error"].is_string()), (&json!(502), true));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_users_do_not_wait_until_fastsmsing_finishes_processing_the_request() {
    let scene =
        scene(Settings { batch_size: 1, timeout_ms: 4_000, fastsmsing: by_hand(), ..Settings::default() }).await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    // The provider never answers the first batch, and every later call is answered all the same.
    scene.shop().send(&message(1)).await.unwrap();
    while scene.fastsmsing.billed_requests() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let id = scene.shop().send(&message(2)).await.unwrap();
    assert_eq!(scene.shop().message(&id).await.unwrap()["status"], "ACCEPTED");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_updates_come_in_batches_and_one_that_cannot_be_mapped_is_an_error_and_the_state_stays() {
    let updates = UpdateOptions { unknown: 3, ..UpdateOptions::default() };
    let fastsmsing = fastsmsing::Options { updates, ..Default::default() };
    let scene = scene(Settings { fastsmsing, ..Settings::default() }).await;
    post(&scene, 0, 20, 4).await;
    let stack = &scene.stack;
    scene.drain().await.unwrap();
    let errors =
        stack.logs().into_iter().filter(|line| line.function == "status" && line.text.contains("UnknownId")).count();
    assert!(errors >= 3, "{errors} error lines");
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 20, "unknown ids never stop the others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_1_read_the_request_and_return_400_or_serialize_the_result_with_202() {
    let scene = scene(Settings::default()).await;
    let response = scene.shop().post(&message(1)).await.unwrap();
    assert_eq!(response.status().as_u16(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/messages/{}", answer["id"].as_str().unwrap()));
    assert_eq!(
        (shown(&answer), &answer["encoding"], &answer["segments"]),
        (("ACCEPTED", "QUEUED"), &json!("GSM-7"), &json!(1))
    );
    let bad = scene.shop().post(&json!({"originator": "MB"})).await.unwrap();
    assert_eq!(
        (bad.status().as_u16(), bad.headers()["content-type"].to_str().unwrap()),
        (400, "application/problem+json")
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_2_health_is_public_and_messages_are_behind_an_api_key() {
    let scene = scene(Settings::default()).await;
    let stranger = scene.shop().with_key("not a key");
    let (health, answer) = stranger.get("/health").await.unwrap();
    assert_eq!((health, answer), (StatusCode::OK, json!({"status": "ok"})));
    let refused = stranger.post(&message(1)).await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
    assert_eq!(refused.json::<Value>().await.unwrap()["detail"], "Unauthorised key");
    for path in ["/messages", "/messages/0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57"] {
        assert_eq!(stranger.get(path).await.unwrap().0, StatusCode::UNAUTHORIZED, "{path}");
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_2_the_valid_request_is_handled_and_the_invalid_one_told_in_its_words() {
    let scene = scene(Settings::default()).await;
    let valid = json!({"recipient": 31633450007_u64, "originator": "MB", "message": "This is a test message."});
    scene.shop().send(&valid).await.unwrap();
    let invalid = json!({"recipient": 31633450007_u64, "message": "This is a test message."});
    let problem: Value = scene.shop().post(&invalid).await.unwrap().json().await.unwrap();
    let words = "'originator' field '' is invalid: 'Must be a phone number or an alpha numeric shorter or equal to 11 characters'";
    assert_eq!((&problem["field"], &problem["detail"]), (&json!("originator"), &json!(words)));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_2_when_the_rate_is_exceeded_messages_are_kept_and_none_is_dropped() {
    let scene = scene(Settings { batch_size: 1, rate_per_s: 5.0, ..Settings::default() }).await;
    post(&scene, 0, 20, 8).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_3_when_a_message_is_sent_the_provider_s_delivery_status_updates_its_status() {
    let scene = scene(Settings { batch_size: 3, fastsmsing: by_hand(), ..Settings::default() }).await;
    let ids = post(&scene, 0, 3, 1).await;
    scene.drain().await.unwrap();
    // Seed 3's own words and shapes, signed as our webhook asks.
    let one = json!({"status": "delivered", "message_id": ids[0]});
    let several = json!([{"status": "failed", "message_id": ids[1]}, {"status": "invalid", "message_id": ids[2]}]);
    for body in [one, several] {
        assert_eq!(scene.report(body.to_string().into_bytes()).await.unwrap().0, StatusCode::OK);
    }
    assert_eq!(look(&scene, &ids[0]).await, pair("DELIVERED", "SENT"));
    for (id, reason) in [(&ids[1], "UNDELIVERED"), (&ids[2], "INVALID_RECIPIENT")] {
        let message = scene.shop().message(id).await.unwrap();
        assert_eq!((shown(&message), message["reason"].as_str()), (("FAILED", "SENT"), Some(reason)));
    }
    scene.finish().await.unwrap();
}
