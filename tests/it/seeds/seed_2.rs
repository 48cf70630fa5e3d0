//! Seed 2, the processor.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::scene::Settings;

use crate::support::{post, scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_public_and_messages_are_behind_an_api_key() {
    let scene = scene(Settings::default()).await;
    let stranger = scene.shop().with_key("not a key");
    let (health, answer) = stranger.get("/health").await.unwrap();
    assert_eq!((health, answer), (StatusCode::OK, json!({"status": "ok"})));
    let refused = stranger.post(&message(1)).await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
    assert_eq!(
        refused.json::<Value>().await.unwrap()["detail"],
        "Unauthorised key"
    );
    for path in [
        "/messages",
        "/messages/0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57",
    ] {
        assert_eq!(
            stranger.get(path).await.unwrap().0,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_valid_request_is_accepted_and_the_invalid_one_refused_in_the_seed_s_words() {
    let scene = scene(Settings::default()).await;
    let text = "This is a test message.";
    let valid = json!({"recipient": 31633450007_u64, "originator": "MB", "message": text});
    scene.shop().send(&valid).await.unwrap();
    let invalid = json!({"recipient": 31633450007_u64, "message": text});
    let problem: Value = scene
        .shop()
        .post(&invalid)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let detail = "'originator' field '' is invalid: 'Must be a phone number or an alpha numeric \
                  shorter or equal to 11 characters'";
    assert_eq!(
        (&problem["field"], &problem["detail"]),
        (&json!("originator"), &json!(detail))
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_rate_is_exceeded_messages_are_kept_and_none_is_dropped() {
    let scene = scene(Settings {
        batch_size: 1,
        rate_per_s: 5.0,
        ..Settings::default()
    })
    .await;
    post(&scene, 0, 20, 8).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests), (20, 20));
}
