//! DELETE /messages/{id}: a caller cancels a message that still waits, and only such a message.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tests::caller::message;
use tests::scene::Settings;
use tests::wire::Fault;
use tokio::task::JoinSet;

use crate::support::{body_holds, look, post, scene, shown};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_still_waits_is_cancelled_and_never_sent() {
    let scene = scene(Settings {
        window_s: 3,
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    let path = format!("/messages/{id}");
    assert_eq!(
        scene.stall().delete(&path).await.unwrap().0.as_u16(),
        404,
        "a client does not see the messages of another"
    );
    // The record's first answer is lost, and the call is repeated.
    let lost = AtomicBool::new(false);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let cancels = seen.operation.as_deref() == Some("BatchExecuteStatement")
            && body_holds(seen, "CANCELLED");
        match cancels && !lost.swap(true, Ordering::SeqCst) {
            true => Fault::DropAnswer,
            false => Fault::Pass,
        }
    });
    for _ in 0..2 {
        let (code, message) = scene.shop().delete(&path).await.unwrap();
        assert_eq!(code.as_u16(), 200, "{message}");
        assert_eq!(
            (shown(&message), message["reason"].as_str()),
            (("FAILED", "NOT_SENT"), Some("CANCELLED"))
        );
    }
    assert_eq!(scene.stack.dynamo_wire.played(&Fault::DropAnswer), 1);
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.accepted), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sent_message_cannot_be_cancelled_and_an_unknown_one_is_not_found() {
    let scene = scene(Settings {
        batch_size: 1,
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    for caller in [scene.shop(), scene.operator()] {
        let (code, problem) = caller.delete(&format!("/messages/{id}")).await.unwrap();
        assert_eq!(
            (code.as_u16(), problem["status"].as_u64()),
            (409, Some(409)),
            "{problem}"
        );
    }
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    for (id, expected) in [("0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57", 404), ("me", 400)] {
        assert_eq!(
            scene
                .shop()
                .delete(&format!("/messages/{id}"))
                .await
                .unwrap()
                .0
                .as_u16(),
            expected,
            "{id}"
        );
    }
    let stranger = scene.shop().with_key("not a key");
    assert_eq!(
        stranger
            .delete(&format!("/messages/{id}"))
            .await
            .unwrap()
            .0
            .as_u16(),
        401
    );
    scene.finish().await.unwrap();
}

/// Messages are cancelled while dispatchers claim them; one that is cancelled is never billed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_between_a_cancellation_and_a_batch_has_one_winner() {
    let scene = scene(Settings {
        batch_size: 10,
        ..Settings::default()
    })
    .await;
    let ids = post(&scene, 0, 60, 4).await;
    let mut calls = JoinSet::new();
    for id in ids {
        let shop = scene.shop().clone();
        calls.spawn(async move {
            let (code, answer) = shop.delete(&format!("/messages/{id}")).await.unwrap();
            (id, code.as_u16(), answer)
        });
    }
    let answers = calls.join_all().await;
    scene.drain().await.unwrap();
    for (id, code, answer) in &answers {
        let expected = match code {
            200 => ("FAILED".to_owned(), "NOT_SENT".to_owned()),
            409 => ("DELIVERED".to_owned(), "SENT".to_owned()),
            _ => panic!("{code}: {answer}"),
        };
        assert_eq!(look(&scene, id).await, expected, "{}", json!(answer));
    }
    scene.finish().await.unwrap();
}
