//! GET /messages: the list is complete, newest first, and each client sees its own messages only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::scene::Settings;

use crate::support::{post, scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_seven_hold_every_older_message_exactly_once_while_more_arrive() {
    let scene = scene(Settings::default()).await;
    for n in 0..10 {
        let bulk: Vec<_> = (n * 500..(n + 1) * 500).map(message).collect();
        scene.shop().send_bulk(&bulk).await.unwrap();
    }
    let older: BTreeSet<_> = scene.accepted_ids().into_iter().collect();
    assert_eq!(older.len(), 5_000);
    let (shop, listed) = (scene.shop().clone(), Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&listed);
    let arriving = tokio::spawn(async move {
        let mut arrived = 0;
        while !until.load(Ordering::SeqCst) {
            shop.send(&message(5_000 + arrived)).await.unwrap();
            arrived += 1;
        }
        arrived
    });
    let messages = scene.shop().list(7).await.unwrap();
    listed.store(true, Ordering::SeqCst);
    assert!(arriving.await.unwrap() > 0);

    let ids: Vec<_> = messages
        .iter()
        .map(|message| message["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        ids.is_sorted_by(|newer, older| newer > older),
        "newest first, and none twice"
    );
    assert_eq!(
        ids.into_iter().filter(|id| older.contains(id)).count(),
        older.len()
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_has_read_many_days_pauses_and_its_cursor_continues_it() {
    let scene = scene(Settings {
        record_days: 120,
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    let (_, page) = scene.shop().get("/messages").await.unwrap();
    assert_eq!(
        page["messages"][0]["id"], id,
        "what was found is returned at once"
    );
    assert!(
        page["next_cursor"].is_string(),
        "there are days left to read: {page}"
    );
    let listed = scene.shop().list(10).await.unwrap();
    assert_eq!(listed.len(), 1);
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sees_its_own_messages_and_an_operator_all() {
    let scene = scene(Settings::default()).await;
    let of_shop = scene.shop().send(&message(1)).await.unwrap();
    let of_stall = scene.stall().send(&message(2)).await.unwrap();
    let seen = |messages: Vec<Value>| {
        messages
            .into_iter()
            .map(|message| message["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(scene.shop().list(10).await.unwrap()), [&*of_shop]);
    assert_eq!(
        seen(scene.operator().list(10).await.unwrap()),
        [&*of_stall, &*of_shop]
    );
    let (status, answer) = scene
        .shop()
        .get(&format!("/messages/{of_stall}"))
        .await
        .unwrap();
    assert_eq!(
        (status, answer["status"].as_str()),
        (StatusCode::NOT_FOUND, Some("NOT_FOUND"))
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_and_the_next_link_narrow_the_list() {
    let scene = scene(Settings::default()).await;
    let mut with_reference = message(1);
    with_reference["reference"] = "order 7".into();
    let id = scene.shop().send(&with_reference).await.unwrap();
    post(&scene, 2, 6, 1).await;
    scene.drain().await.unwrap();
    for query in [
        "reference=order+7",
        "recipient=%2B31600000001",
        "recipient=31600000001",
    ] {
        let (_, page) = scene
            .shop()
            .get(&format!("/messages?{query}&status=DELIVERED"))
            .await
            .unwrap();
        assert_eq!(
            (&page["messages"][0]["id"], &page["messages"][1]),
            (&id.clone().into(), &Value::Null),
            "{query}: {page}"
        );
    }
    for empty in [
        "status=FAILED",
        "submission=QUEUED",
        "status=DELIVERED&submission=QUEUED",
        "created_to=2026-01-01T00:00:00Z",
    ] {
        let (status, page) = scene
            .shop()
            .get(&format!("/messages?{empty}"))
            .await
            .unwrap();
        assert_eq!(
            (status, &page["messages"]),
            (StatusCode::OK, &json!([])),
            "{empty}: {page}"
        );
    }
    let response = scene
        .shop()
        .get_response("/messages?limit=2&status=DELIVERED")
        .await
        .unwrap();
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    let next = link
        .strip_prefix('<')
        .unwrap()
        .split('>')
        .next()
        .unwrap()
        .to_owned();
    let (_, page) = scene.shop().get(&next).await.unwrap();
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    scene.finish().await.unwrap();
}
