//! Reports of MessageBird: signed GET requests, which come early, late, repeated or forged.

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::json;
use tests::fastsmsing::Mishap;
use tests::messagebird::Token;
use tests::scene::{Scene, Settings};

use super::{HEADER, batch, bird, call, digits, only, same_text, send, token};
use crate::support::{look, resolve, scene, short_lived, sweep_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_comes_before_the_answer_settles_the_batch() {
    let scene = scene(Settings {
        timeout_ms: 1_500,
        ..only(bird())
    })
    .await;
    scene.messagebird().misbehave(Mishap::AcceptThenSilence);
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.confirmed_batches, audit.unknown_batches), (1, 0));
}

/// Tokens that do not prove a report to this URL.
fn forged_tokens(scene: &Scene, url: &str) -> [String; 7] {
    let key = scene.messagebird().signing_key();
    let now_s = Timestamp::now().as_second();
    let hour_s = SignedDuration::from_hours(1).as_secs();
    let mut unsigned = Token::about(url, now_s);
    unsigned.head["alg"] = json!("none");
    let mut other_issuer = Token::about(url, now_s);
    other_issuer.claims["iss"] = json!("Another issuer");
    let other_url = scene
        .messagebird()
        .report_url(&digits(1), "delivery_failed", Some(1))
        .unwrap();
    [
        Token::about(url, now_s).signed("another key"),
        Token::about(&other_url, now_s).signed(key),
        Token::about(url, now_s - hour_s).signed(key),
        Token::about(url, now_s + hour_s).signed(key),
        unsigned.signed(key),
        other_issuer.signed(key),
        "a.b.c".to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_report_is_refused_and_changes_nothing() {
    let scene = scene(only(bird().by_hand())).await;
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let url = scene
        .messagebird()
        .report_url(&digits(1), "delivered", None)
        .unwrap();
    for forged in forged_tokens(&scene, &url) {
        assert_eq!(
            call(&url, Some(&forged), "").await,
            (StatusCode::UNAUTHORIZED, HEADER.to_owned()),
            "{forged}"
        );
    }
    assert_eq!(
        call(&url, None, "").await,
        (StatusCode::UNAUTHORIZED, HEADER.to_owned())
    );
    let token = token(&scene, &url);
    assert_eq!(
        call(&url, Some(&token), "a body").await,
        (StatusCode::UNAUTHORIZED, HEADER.to_owned())
    );
    // The key proves reports of MessageBird, not those of another provider or of an unknown one.
    for name in ["fastsmsing", "unknown"] {
        let url = url.replace("/bird?", &format!("/{name}?"));
        assert_eq!(
            call(&url, Some(&token), "").await.0,
            StatusCode::NOT_FOUND,
            "{name}"
        );
    }
    assert_eq!(look(&scene, &id).await, ("CONFIRMED".into(), "SENT".into()));
    assert_eq!(
        call(&url, Some(&token), "").await,
        (StatusCode::OK, "recorded".to_owned())
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_stale_and_unknown_reports_are_answered_and_change_nothing() {
    let scene = scene(only(bird().by_hand())).await;
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let delivered = scene
        .messagebird()
        .report_url(&digits(1), "delivered", None)
        .unwrap();
    let reference = scene.messagebird().ledger()[0].batch_id.clone();
    for (url, expected) in [
        (delivered.replace("delivered", "sent"), "repeated"),
        (delivered.clone(), "recorded"),
        (delivered.clone(), "repeated"),
        (delivered.replace("delivered", "buffered"), "stale"),
        (delivered.replace("delivered", "delivery_failed"), "stale"),
        (delivered.replace("delivered", "enjoyed"), "not_a_status"),
        (delivered.replace(&digits(1), &digits(2)), "unknown_id"),
        (delivered.replace(&digits(1), "unknown"), "unknown_id"),
        (delivered.replace(&reference, &id), "unknown_id"),
        (delivered.replace(&reference, "none"), "unknown_id"),
        (
            delivered.split('?').next().unwrap().to_owned(),
            "not_a_status",
        ),
    ] {
        assert_eq!(
            call(&url, Some(&token(&scene, &url)), "").await,
            (StatusCode::OK, expected.to_owned()),
            "{url}"
        );
    }
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    scene.finish().await.unwrap();
}

/// An operator decided that the first batch was not sent, which was wrong; the second is UNKNOWN.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_about_an_older_batch_is_evidence_and_does_not_settle_the_younger_one() {
    let scene = scene(Settings {
        fastsmsing_configured: false,
        extra_providers: vec![bird().by_hand()],
        ..short_lived()
    })
    .await;
    scene.messagebird().misbehave(Mishap::ResetAfterAccepting);
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let first = batch(&scene).await["id"].as_str().unwrap().to_owned();
    let decision = json!({"outcome": "NOT_SENT", "requeue": true});
    assert_eq!(resolve(&scene, &first, &decision).await.0.as_u16(), 200);
    scene.messagebird().misbehave(Mishap::ResetAfterAccepting);
    let url = scene
        .messagebird()
        .report_url(&digits(1), "delivered", None)
        .unwrap();
    sweep_until(&scene, "the requeued batch", async |_| {
        scene.messagebird().seen().len() >= 2
    })
    .await;
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await.1, "UNCONFIRMED");

    let early = url.replace("delivered", "buffered");
    let (token, early_token) = (token(&scene, &url), token(&scene, &early));
    assert_eq!(
        call(&early, Some(&early_token), "").await,
        (StatusCode::OK, "stale".to_owned())
    );
    assert_eq!(
        call(&url, Some(&token), "").await,
        (StatusCode::OK, "contradicted".to_owned())
    );
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    let second = batch(&scene).await;
    assert_eq!(
        (second["state"].as_str(), second["id"] != first),
        (Some("UNKNOWN"), true)
    );
    drop(scene.without_audit());
}

/// Among the reports are some about batches that do not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_and_shuffled_reports_lead_to_the_same_statuses() {
    let mut bird = bird();
    let updates = &mut bird.options.updates;
    (updates.repeats, updates.shuffled, updates.unknown) = (3, true, 2);
    let scene = scene(Settings {
        window_s: 2,
        ..only(bird)
    })
    .await;
    send(&scene, 12).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (12, 0));
}
