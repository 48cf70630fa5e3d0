//! Numbers: nobody pays for one that is known to be invalid, and an operator has the last word.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use serde_json::{Value, json};
use tests::caller::message;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;

use crate::support::{body_holds, by_hand, look, post, puts_into, scene, shown};

/// What DynamoDB may say about an item that it does not like.
const NUMBER_IN_AN_ERROR: &str = r#"{"__type": "ValidationException", "message": "not a key: 31600000001"}"#;

/// Of `message(n)`.
fn path(n: usize) -> String {
    format!("/numbers/+{}", 31_600_000_000_u64 + n as u64)
}

async fn set(scene: &Scene, n: usize, status: &str) -> Value {
    let (code, number) = scene.operator().put_to(&path(n), &json!({"status": status})).await.unwrap();
    assert_eq!((code.as_u16(), number["status"].as_str()), (200, Some(status)), "{number}");
    number
}

/// What is known of the number; null if nothing is.
async fn known(scene: &Scene, n: usize) -> Value {
    let (code, number) = scene.operator().get(&path(n)).await.unwrap();
    if code == 404 { Value::Null } else { number }
}

async fn report(scene: &Scene, body: &Value) -> Vec<Value> {
    let (code, answer) = scene.report(body.to_string().into_bytes()).await.unwrap();
    assert_eq!(code.as_u16(), 200, "{answer}");
    answer["results"].as_array().unwrap().iter().map(|entry| entry["result"].clone()).collect()
}

/// What a caller is told who sends to the number now.
async fn answer(scene: &Scene, n: usize, key: &str) -> (u16, Value) {
    let response = scene.shop().post_with(&message(n), &[("Idempotency-Key", key)]).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn items(scene: &Scene, table: &str) -> usize {
    let request = serde_json::from_value(json!({"TableName": table})).unwrap();
    let found = serde_json::to_value(scene.stack.dynamo.database.scan(request).unwrap()).unwrap();
    found["Items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_3_a_message_to_an_inactive_number_is_an_error_and_nothing_is_stored() {
    let scene = scene(Settings::default()).await;
    let bells = Arc::new(AtomicUsize::new(0));
    let rung = Arc::clone(&bells);
    scene.stack.sqs_wire.observe(move |seen| {
        rung.fetch_add(usize::from(seen.operation.as_deref() == Some("SendMessage")), Ordering::SeqCst);
    });
    set(&scene, 1, "INACTIVE").await;
    for key in ["order-1", "order-1", "order-2"] {
        let (code, problem) = answer(&scene, 1, key).await;
        assert_eq!((code, problem["field"].as_str()), (400, Some("recipient")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("number is inactive"), "{problem}");
    }
    assert_eq!((items(&scene, "Messages"), items(&scene, "Idempotency"), bells.load(Ordering::SeqCst)), (0, 0, 0));
    scene.shop().send(&message(2)).await.unwrap();
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.accepted, audit.delivered()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_3_if_the_status_is_invalid_the_phone_number_is_marked_as_inactive() {
    let scene = scene(Settings { batch_size: 2, fastsmsing: by_hand(), ..Settings::default() }).await;
    let ids = post(&scene, 1, 3, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(report(&scene, &json!({"status": "invalid", "message_id": ids[0]})).await, ["recorded"]);
    let message = scene.shop().message(&ids[0]).await.unwrap();
    assert_eq!((shown(&message), message["reason"].as_str()), (("FAILED", "SENT"), Some("INVALID_RECIPIENT")));
    let number = known(&scene, 1).await;
    assert_eq!((&number["status"], &number["by"]), (&json!("INACTIVE"), &json!("fastsmsing")), "{number}");
    assert_eq!((&number["message_id"], &number["recipient"]), (&json!(ids[0]), &json!("+31600000001")));

    // Once more, and a status that is not invalid.
    assert_eq!(report(&scene, &json!({&ids[0]: "INVALID", &ids[1]: "FAILED"})).await, ["repeated", "recorded"]);
    assert_eq!(known(&scene, 1).await, number, "a repeat changes nothing, and not since when");
    assert_eq!(known(&scene, 2).await, Value::Null);
    let (_, page) = scene.operator().get("/numbers").await.unwrap();
    assert_eq!(page, json!({"numbers": [number], "next_cursor": null}));
    assert_eq!(answer(&scene, 1, "order-1").await.0, 400);
    assert_eq!(answer(&scene, 2, "order-2").await.0, 202);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_becomes_inactive_in_whatever_order_and_however_often_it_is_reported() {
    let scene = scene(Settings { batch_size: 20, fastsmsing: by_hand(), ..Settings::default() }).await;
    let ids = post(&scene, 0, 20, 2).await;
    scene.drain().await.unwrap();
    let mut chance = Rng::with_seed(3);
    let mut updates: Vec<_> = ids
        .iter()
        .flat_map(|id| {
            ["CONFIRMED", "DELIVERED", "FAILED", "INVALID", "INVALID"]
                .map(|status| json!({"message_id": id, "status": status}))
        })
        .collect();
    chance.shuffle(&mut updates);
    for call in updates.chunks(7) {
        report(&scene, &json!(call)).await;
    }
    for n in 0..20 {
        assert_eq!(known(&scene, n).await["status"], "INACTIVE", "{n}");
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_comes_before_anything_was_sent_counts_all_the_same() {
    let scene = scene(Settings { window_s: 900, fastsmsing: by_hand(), ..Settings::default() }).await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    assert_eq!(report(&scene, &json!({id: "invalid"})).await, ["contradicted"]);
    assert_eq!(known(&scene, 1).await["status"], "INACTIVE");
    // The provider tells of what it never had, which no audit can explain.
    drop(scene.untold());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reactivates_a_number_and_no_old_report_undoes_it() {
    let scene = scene(Settings { batch_size: 1, fastsmsing: by_hand(), ..Settings::default() }).await;
    let mut old = Vec::new();
    for _ in 0..2 {
        old.push(scene.shop().send(&message(1)).await.unwrap());
    }
    scene.drain().await.unwrap();
    report(&scene, &json!({&old[0]: "invalid"})).await;
    assert_eq!(answer(&scene, 1, "order-1").await.0, 400);
    let word = set(&scene, 1, "ACTIVE").await;
    assert_eq!((&word["by"], word.get("message_id")), (&json!("ops"), None), "{word}");

    // A replay, and the first report about another message of that time.
    report(&scene, &json!({&old[0]: "invalid", &old[1]: "invalid"})).await;
    assert_eq!(known(&scene, 1).await, word);
    let (_, page) = scene.operator().get("/numbers?status=ACTIVE").await.unwrap();
    assert_eq!(page["numbers"], json!([word]));

    let new = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    report(&scene, &json!([{"message_id": new, "status": "invalid"}, {"message_id": old[0], "status": "invalid"}]))
        .await;
    let number = known(&scene, 1).await;
    assert_eq!((&number["status"], &number["message_id"]), (&json!("INACTIVE"), &json!(new)), "{number}");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_whose_number_cannot_be_written_is_one_that_the_provider_has_to_repeat() {
    let scene = scene(Settings { batch_size: 1, fastsmsing: by_hand(), ..Settings::default() }).await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let body = json!({&id: "invalid"});
    scene.stack.dynamo_wire.set_rule(|seen| match puts_into(seen, "Numbers") {
        true => Fault::DropRequest,
        false => Fault::Pass,
    });
    assert_eq!(scene.report(body.to_string().into_bytes()).await.unwrap().0.as_u16(), 503);
    assert_eq!(look(&scene, &id).await, ("CONFIRMED".into(), "SENT".into()), "the number comes first");

    // Written, but the answer is lost: the SDK writes again, and finds its own.
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lost);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        match puts_into(seen, "Numbers") && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Fault::DropAnswer,
            false => Fault::Pass,
        }
    });
    assert_eq!(report(&scene, &body).await, ["recorded"]);
    assert_eq!((known(&scene, 1).await["status"].as_str(), lost.load(Ordering::SeqCst)), (Some("INACTIVE"), 2));
    set(&scene, 1, "ACTIVE").await;
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_repeat_of_a_call_that_was_accepted_is_not_refused() {
    let scene = scene(Settings { window_s: 2, ..Settings::default() }).await;
    let id = scene.shop().insist(&message(1), Some("order-1")).await.unwrap();
    set(&scene, 1, "INACTIVE").await;
    let again = scene.shop().post_with(&message(1), &[("Idempotency-Key", "order-1")]).await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["idempotent-replayed"].to_str().unwrap()), (202, "true"));
    assert_eq!(again.json::<Value>().await.unwrap()["id"], id);
    assert_eq!(answer(&scene, 1, "order-2").await.0, 400);
    let mut changed = message(1);
    changed["reference"] = "changed".into();
    let conflict = scene.shop().post_with(&changed, &[("Idempotency-Key", "order-1")]).await.unwrap();
    assert_eq!(conflict.status().as_u16(), 409);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_looked_up_set_and_listed_by_operators_only() {
    let scene = scene(Settings::default()).await;
    for (n, address) in ["+31600000001", "31600000002", "%2B31600000003"].into_iter().enumerate() {
        let put = scene.operator().put_to(&format!("/numbers/{address}"), &json!({"status": "INACTIVE"})).await;
        assert_eq!(put.unwrap().0.as_u16(), 200, "{address}");
        assert_eq!(known(&scene, n + 1).await["recipient"], format!("+3160000000{}", n + 1));
    }
    for body in [json!({"status": "DEAD"}), json!({}), json!({"status": "ACTIVE", "why": 1}), json!([])] {
        let (code, problem) = scene.operator().put_to(&path(1), &body).await.unwrap();
        assert_eq!(code.as_u16(), 400, "{problem}");
    }
    let (code, problem) = scene.operator().put_to("/numbers/me", &json!({"status": "ACTIVE"})).await.unwrap();
    assert_eq!((code.as_u16(), problem["field"].as_str()), (400, Some("recipient")));
    assert_eq!(scene.operator().get("/numbers/+31600000009").await.unwrap().1["status"], "NOT_FOUND");
    assert_eq!(scene.shop().put_to(&path(1), &json!({"status": "ACTIVE"})).await.unwrap().0.as_u16(), 403);
    for address in ["/numbers", &path(1)] {
        assert_eq!(scene.shop().get(address).await.unwrap().0.as_u16(), 403);
    }
    assert_eq!(known(&scene, 1).await["status"], "INACTIVE", "nobody else has a say");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_inactive_number_once() {
    let scene = scene(Settings::default()).await;
    for n in 0..25 {
        set(&scene, n, if n % 5 == 4 { "ACTIVE" } else { "INACTIVE" }).await;
    }
    let (mut listed, mut next) = (Vec::new(), "/numbers?status=INACTIVE&limit=7".to_owned());
    loop {
        let response = scene.operator().raw(&next).await.unwrap();
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        listed.extend(page["numbers"].as_array().unwrap().iter().map(|number| number["recipient"].to_string()));
        assert_eq!(link.is_some(), page["next_cursor"].is_string());
        match link {
            Some(link) => next = link.trim_start_matches('<').split('>').next().unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!((listed.len(), listed.iter().collect::<BTreeSet<_>>().len()), (20, 20));
    scene.finish().await.unwrap();
}

/// Whatever becomes of a number, it stays out of the logs, and so do the texts of a bulk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_and_no_text_is_logged_on_any_of_these_ways() {
    let scene = scene(Settings { batch_size: 5, fastsmsing: by_hand(), ..Settings::default() }).await;
    let bulk: Vec<_> = (0..10).map(message).chain([json!({"recipient": "CANARY", "originator": "MB"})]).collect();
    let (_, answer) = scene.shop().post_bulk(&bulk, Some("CANARY-key")).await.unwrap();
    scene.drain().await.unwrap();
    for result in answer["results"].as_array().unwrap().iter().take(5) {
        report(&scene, &json!({result["id"].as_str().unwrap(): "invalid"})).await;
    }
    for rule in [Fault::Pass, Fault::CutBody, Fault::Status(400, NUMBER_IN_AN_ERROR.to_owned())] {
        scene.stack.dynamo_wire.set_rule(move |seen| match body_holds(seen, "Numbers") {
            true => rule.clone(),
            false => Fault::Pass,
        });
        scene.shop().post_bulk(&bulk, None).await.unwrap();
        scene.shop().post(&message(1)).await.unwrap();
        scene.operator().put_to(&path(1), &json!({"status": "ACTIVE"})).await.unwrap();
        scene.operator().get(&path(1)).await.unwrap();
        scene.operator().get("/numbers?limit=2").await.unwrap();
        scene.operator().get("/numbers/CANARY").await.unwrap();
    }
    scene.stack.dynamo_wire.clear_rule();
    let lines = scene.stack.logs();
    assert!(lines.len() > 20, "only {} lines", lines.len());
    for line in &lines {
        let found = ["31600000", "on its way", "CANARY"].into_iter().find(|canary| line.text.contains(canary));
        assert_eq!(found, None, "{}: {}", line.function, line.text);
    }
    drop(scene.untold());
}
