//! POST /messages/bulk: each message succeeds or fails alone, and a repeated call makes no second
//! message.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;

use crate::support::{body_holds, gets_many_from, puts_into, scene, shown, wait_for_requests};

fn messages(count: usize) -> Vec<Value> {
    (0..count).map(message).collect()
}

/// Posts a bulk that has to be accepted; returns the results, one for each message.
async fn bulk(scene: &Scene, messages: &[Value], key: Option<&str>) -> Vec<Value> {
    let (code, mut answer) = scene.shop().post_bulk(messages, key).await.unwrap();
    assert_eq!(code, StatusCode::ACCEPTED, "{answer}");
    let Value::Array(results) = answer["results"].take() else {
        panic!("no results: {answer}")
    };
    assert_eq!(results.len(), messages.len());
    results
}

fn ids(results: &[Value]) -> Vec<&str> {
    results
        .iter()
        .filter_map(|result| result["id"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_messages_the_bad_ones_are_refused_and_all_others_are_delivered() {
    let scene = scene(Settings::default()).await;
    let put = scene
        .operator()
        .put_to("/numbers/31600000123", &json!({"status": "INACTIVE"}))
        .await;
    assert_eq!(put.unwrap().0, StatusCode::OK);
    let mut wanted = messages(500);
    let bad = [
        (0, "recipient", json!("me")),
        (77, "originator", json!("")),
        (499, "message", json!(null)),
    ];
    for (n, field, value) in &bad {
        wanted[*n][*field] = value.clone();
    }
    wanted[250] = json!("a message");
    let results = bulk(&scene, &wanted, None).await;
    let expected = |n: usize| match n {
        0 | 123 => Some("recipient"),
        77 => Some("originator"),
        250 => Some("body"),
        499 => Some("message"),
        _ => None,
    };
    for (n, result) in results.iter().enumerate() {
        match expected(n) {
            Some(field) => {
                assert_eq!(
                    (&result["status"], &result["field"]),
                    (&json!(400), &json!(field)),
                    "{n}: {result}"
                );
                assert_eq!(result["type"], "urn:sms-proxy:problem:invalid-field");
            }
            None => {
                assert_eq!(shown(result), ("ACCEPTED", "QUEUED"), "{n}");
                assert_eq!(
                    result["recipient"],
                    format!("+{}", 31_600_000_000_u64 + n as u64)
                );
                assert_eq!(result.get("replayed"), None);
            }
        }
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (audit.accepted, audit.delivered(), audit.sent_twice),
        (495, 495, 0)
    );
    assert!(
        audit.provider_requests < 10,
        "{} requests",
        audit.provider_requests
    );
}

/// Collects the bells that are sent from now on.
fn collect_bells(scene: &Scene) -> Arc<Mutex<Vec<Value>>> {
    let bells = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&bells);
    scene.stack.sqs_wire.observe(move |seen| {
        if seen.operation.as_deref() == Some("SendMessage") {
            collected
                .lock()
                .unwrap()
                .push(serde_json::from_slice::<Value>(&seen.body).unwrap());
        }
    });
    bells
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_needs_few_look_ups_and_few_bells_of_which_one_rings_at_once() {
    // No message is due for a quarter of an hour, so only a bell that rings at once sends a batch.
    let fastsmsing = fastsmsing::Options {
        batch_size_max: 400,
        ..Default::default()
    };
    let scene = scene(Settings {
        window_s: 900,
        batch_size: 400,
        fastsmsing,
        ..Settings::default()
    })
    .await;
    let look_ups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&look_ups);
    let bells = collect_bells(&scene);
    // Dispatchers look numbers up as well, but none runs before a bell rings.
    scene.stack.dynamo_wire.set_rule(move |seen| {
        counted.fetch_add(
            usize::from(gets_many_from(seen, "Numbers")),
            Ordering::SeqCst,
        );
        Fault::Pass
    });
    bulk(&scene, &messages(350), None).await;
    assert_eq!(look_ups.load(Ordering::SeqCst), 4);
    let rung = std::mem::take(&mut *bells.lock().unwrap());
    assert!(
        rung.iter().all(|bell| bell["DelaySeconds"] == 900),
        "no batch is full"
    );
    assert_eq!(rung.len(), 4);

    let results = bulk(&scene, &messages(120), None).await;
    let rung = std::mem::take(&mut *bells.lock().unwrap());
    assert_eq!(rung.len(), 2);
    let (at_once, later): (Vec<_>, Vec<_>) = rung
        .iter()
        .partition(|bell| bell.get("DelaySeconds").is_none());
    let body = |bell: &Value| {
        serde_json::from_str::<Value>(bell["MessageBody"].as_str().unwrap()).unwrap()
    };
    assert_eq!(
        (at_once.len(), later.len(), &body(at_once[0])["full"]),
        (1, 1, &json!(true))
    );
    let ids_rung: usize = rung
        .iter()
        .map(|bell| body(bell)["ids"].as_array().unwrap().len())
        .sum();
    assert_eq!(ids_rung, results.len());
    wait_for_requests(&scene, 1).await;
    assert_eq!(scene.fastsmsing.sizes(), [400]);
    drop(scene.without_audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_call_makes_no_second_message_and_a_changed_one_is_a_conflict() {
    let scene = scene(Settings::default()).await;
    let mut wanted = messages(120);
    let first = bulk(&scene, &wanted, Some("orders-1")).await;
    let again = bulk(&scene, &wanted, Some("orders-1")).await;
    assert_eq!(ids(&again), ids(&first));
    assert!(again.iter().all(|result| result["replayed"] == true));

    wanted[7]["message"] = "Another text".into();
    wanted.push(message(120));
    let changed = bulk(&scene, &wanted, Some("orders-1")).await;
    assert_eq!(
        (&changed[7]["status"], &changed[7]["field"]),
        (&json!(409), &json!("Idempotency-Key"))
    );
    assert_eq!(
        (&changed[6]["id"], changed[120].get("replayed")),
        (&first[6]["id"], None)
    );
    // The number has become inactive since, and the message stays accepted.
    scene
        .operator()
        .put_to("/numbers/31600000003", &json!({"status": "INACTIVE"}))
        .await
        .unwrap();
    let late = bulk(&scene, &wanted[..5], Some("orders-1")).await;
    assert_eq!(
        (&late[3]["id"], &late[3]["replayed"]),
        (&first[3]["id"], &json!(true))
    );
    // Neither another call's key nor the key of a single message is one of these keys.
    assert_eq!(
        bulk(&scene, &wanted[..5], Some("orders-2")).await[3]["status"],
        400
    );
    scene
        .shop()
        .post_until_accepted(&message(1), Some("orders-1"))
        .await
        .unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.accepted, 120 + 1 + 4 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_lost_requests_make_no_second_message() {
    let scene = scene(Settings {
        batch_size: 50,
        ..Settings::default()
    })
    .await;
    let calls = Arc::new(AtomicUsize::new(0));
    scene.stack.dynamo_wire.set_rule(move |seen| {
        if !puts_into(seen, "Messages") && !puts_into(seen, "Idempotency") {
            return Fault::Pass;
        }
        match calls.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => Fault::DropAnswer,
            1 => Fault::DropRequest,
            _ => Fault::Pass,
        }
    });
    let wanted = messages(200);
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let (code, answer) = scene
            .shop()
            .post_bulk(&wanted, Some("orders-1"))
            .await
            .unwrap();
        match answer["results"].as_array() {
            Some(results) => seen.extend(ids(results).into_iter().map(str::to_owned)),
            None => assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE, "{answer}"),
        }
    }
    assert!(
        scene.stack.dynamo_wire.played(&Fault::DropAnswer) > 100,
        "the wire lost answers"
    );
    scene.stack.dynamo_wire.clear_rule();
    let last = bulk(&scene, &wanted, Some("orders-1")).await;
    seen.extend(ids(&last).into_iter().map(str::to_owned));
    assert_eq!(
        (ids(&last).len(), seen.len()),
        (200, 200),
        "no message had two ids"
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (audit.accepted, audit.delivered(), audit.sent_twice),
        (200, 200, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_record_fails_messages_and_the_call_only_if_none_was_recorded() {
    let scene = scene(Settings::default()).await;
    scene.stack.dynamo_wire.set_rule(|seen| {
        match puts_into(seen, "Messages") && body_holds(seen, "+3160000000") {
            true => Fault::DropRequest,
            false => Fault::Pass,
        }
    });
    let mut wanted = messages(30);
    wanted[20]["message"] = json!("");
    let results = bulk(&scene, &wanted, Some("orders-1")).await;
    for (n, result) in results.iter().enumerate() {
        let expected = match n {
            20 => json!(400),
            0..10 => json!(503),
            _ => json!("ACCEPTED"),
        };
        assert_eq!(result["status"], expected, "{n}: {result}");
    }
    let (code, problem) = scene
        .shop()
        .post_bulk(&wanted[..10], Some("orders-2"))
        .await
        .unwrap();
    assert_eq!(
        (code, &problem["status"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!(503))
    );
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match gets_many_from(seen, "Numbers") {
            true => Fault::DropRequest,
            false => Fault::Pass,
        });
    let (code, _) = scene
        .shop()
        .post_bulk(&wanted, Some("orders-3"))
        .await
        .unwrap();
    assert_eq!(
        code,
        StatusCode::SERVICE_UNAVAILABLE,
        "no number was looked up, so no message may be accepted"
    );

    scene.stack.dynamo_wire.clear_rule();
    let again = bulk(&scene, &wanted, Some("orders-1")).await;
    assert_eq!(
        (again[0]["status"].as_str(), &again[10]["id"]),
        (Some("ACCEPTED"), &results[10]["id"])
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.accepted, audit.delivered()), (29, 29));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_a_bulk_is_refused_with_the_field_that_is_wrong() {
    let scene = scene(Settings::default()).await;
    let many = json!({"messages": messages(501)});
    let bad = [
        (json!({}), "messages"),
        (json!({"messages": []}), "messages"),
        (many, "messages"),
        (json!({"messages": {"0": message(1)}}), "messages"),
        (json!({"messages": [message(1)], "priority": 1}), "priority"),
        (json!([message(1)]), "body"),
    ];
    for (body, field) in bad {
        let (code, problem) = scene.shop().post_to("/messages/bulk", &body).await.unwrap();
        assert_eq!(
            (code.as_u16(), problem["field"].as_str()),
            (400, Some(field)),
            "{problem}"
        );
    }
    let mut large = message(1);
    large["message"] = "x".repeat(4 * 1024 * 1024).into();
    let (code, problem) = scene.shop().post_bulk(&[large], None).await.unwrap();
    assert_eq!(
        (code.as_u16(), problem["field"].as_str()),
        (413, Some("body"))
    );
    let stranger = scene.shop().with_key("not a key");
    assert_eq!(
        stranger.post_bulk(&[message(1)], None).await.unwrap().0,
        StatusCode::UNAUTHORIZED
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_bulk_that_is_allowed_is_answered() {
    let scene = scene(Settings {
        window_s: 900,
        batch_size: 1_000,
        ..Settings::default()
    })
    .await;
    // Quotes and control characters are the allowed characters that grow most in JSON in JSON.
    for (text, times) in [("\"", 1_530), ("\u{1}", 670)] {
        let mut wanted = messages(500);
        for message in &mut wanted {
            message["message"] = text.repeat(times).into();
            message["reference"] = "\u{1}".repeat(255).into();
        }
        let results = bulk(&scene, &wanted, None).await;
        assert!(
            results.iter().all(|result| result["segments"] == 10),
            "{}",
            results[0]
        );
    }
    drop(scene.without_audit());
}
