//! Reports that make a number inactive, in any order, and those that come too late to do so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use serde_json::{Value, json};
use tests::caller::message;
use tests::scene::Settings;
use tests::wire::Fault;

use super::{answer, known, report, set};
use crate::support::{by_hand, look, post, puts_into, scene, shown};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_3_if_the_status_is_invalid_the_phone_number_is_marked_as_inactive() {
    let scene = scene(Settings {
        batch_size: 2,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let ids = post(&scene, 1, 3, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(
        report(&scene, &json!({"status": "invalid", "message_id": ids[0]})).await,
        ["recorded"]
    );
    let message = scene.shop().message(&ids[0]).await.unwrap();
    assert_eq!(
        (shown(&message), message["reason"].as_str()),
        (("FAILED", "SENT"), Some("INVALID_RECIPIENT"))
    );
    let number = known(&scene, 1).await;
    assert_eq!(
        (&number["status"], &number["by"]),
        (&json!("INACTIVE"), &json!("fastsmsing")),
        "{number}"
    );
    assert_eq!(
        (&number["message_id"], &number["recipient"]),
        (&json!(ids[0]), &json!("+31600000001"))
    );

    // The same report again, and one with a status that says nothing about the number.
    assert_eq!(
        report(&scene, &json!({&ids[0]: "INVALID", &ids[1]: "FAILED"})).await,
        ["repeated", "recorded"]
    );
    assert_eq!(
        known(&scene, 1).await,
        number,
        "a repeat changes nothing, not even the time"
    );
    assert_eq!(known(&scene, 2).await, Value::Null);
    let (_, page) = scene.operator().get("/numbers").await.unwrap();
    assert_eq!(page, json!({"numbers": [number], "next_cursor": null}));
    assert_eq!(answer(&scene, 1, "order-1").await.0, 400);
    assert_eq!(answer(&scene, 2, "order-2").await.0, 202);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_becomes_inactive_in_whatever_order_the_reports_come() {
    let scene = scene(Settings {
        batch_size: 20,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
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
async fn a_report_about_a_message_that_was_not_sent_makes_the_number_inactive() {
    let scene = scene(Settings {
        window_s: 900,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    assert_eq!(
        report(&scene, &json!({id: "invalid"})).await,
        ["contradicted"]
    );
    assert_eq!(known(&scene, 1).await["status"], "INACTIVE");
    // The provider reports a message that it never had, which no audit can explain.
    drop(scene.without_audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reactivates_a_number_and_no_old_report_undoes_it() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let mut old = Vec::new();
    for _ in 0..2 {
        old.push(scene.shop().send(&message(1)).await.unwrap());
    }
    scene.drain().await.unwrap();
    report(&scene, &json!({&old[0]: "invalid"})).await;
    assert_eq!(answer(&scene, 1, "order-1").await.0, 400);
    let decision = set(&scene, 1, "ACTIVE").await;
    assert_eq!(
        (&decision["by"], decision.get("message_id")),
        (&json!("ops"), None),
        "{decision}"
    );

    // A repeated report, and the first one about another message of that time.
    report(&scene, &json!({&old[0]: "invalid", &old[1]: "invalid"})).await;
    assert_eq!(known(&scene, 1).await, decision);
    let (_, page) = scene
        .operator()
        .get("/numbers?status=ACTIVE")
        .await
        .unwrap();
    assert_eq!(page["numbers"], json!([decision]));

    let new = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let new_and_old = json!([
        {"message_id": new, "status": "invalid"},
        {"message_id": old[0], "status": "invalid"}
    ]);
    report(&scene, &new_and_old).await;
    let number = known(&scene, 1).await;
    assert_eq!(
        (&number["status"], &number["message_id"]),
        (&json!("INACTIVE"), &json!(new)),
        "{number}"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_whose_number_cannot_be_written_has_to_be_repeated() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let body = json!({&id: "invalid"});
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match puts_into(seen, "Numbers") {
            true => Fault::DropRequest,
            false => Fault::Pass,
        });
    assert_eq!(
        scene
            .report(body.to_string().into_bytes())
            .await
            .unwrap()
            .0
            .as_u16(),
        503
    );
    assert_eq!(
        look(&scene, &id).await,
        ("CONFIRMED".into(), "SENT".into()),
        "the number is written before the message"
    );

    // It is written, but the answer is lost: the SDK writes again, and finds its own write.
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lost);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        match puts_into(seen, "Numbers") && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Fault::DropAnswer,
            false => Fault::Pass,
        }
    });
    assert_eq!(report(&scene, &body).await, ["recorded"]);
    assert_eq!(
        (
            known(&scene, 1).await["status"].as_str(),
            lost.load(Ordering::SeqCst)
        ),
        (Some("INACTIVE"), 2)
    );
    set(&scene, 1, "ACTIVE").await;
    scene.finish().await.unwrap();
}
