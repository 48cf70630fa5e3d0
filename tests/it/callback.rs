//! A provider of seed 3's kind, which reports to a callback URL that each message carries: what the
//! product sends to it, where that has to differ from what seed 3 does, and its reports.

use domain::callback_token::CallbackKey;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::{Mishap, Outcome};
use tests::providers::{ExtraProvider, ProtocolKind};
use tests::scene::{Scene, Settings};

use crate::support::{look, post, scene, shown};

const NEVER: &str = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57";

/// Settings with this provider alone.
fn only(other: ExtraProvider) -> Settings {
    Settings {
        fastsmsing_configured: false,
        extra_providers: vec![other],
        ..Settings::default()
    }
}

fn texter() -> ExtraProvider {
    ExtraProvider::callback("texter")
}

/// Calls a callback URL; returns the status, and the result or the field of the problem.
async fn call(url: &str, content_type: &str, body: String) -> (StatusCode, String) {
    let request = Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(url)
        .header("Content-Type", content_type);
    let response = request.body(body).send().await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    let result = if status.is_success() {
        &answer["results"][0]["result"]
    } else {
        &answer["field"]
    };
    (status, result.as_str().unwrap_or_default().to_owned())
}

async fn report(url: &str, status: &str) -> (StatusCode, String) {
    call(
        url,
        "application/json",
        json!({"status": status, "message_id": "theirs"}).to_string(),
    )
    .await
}

fn outcomes(scene: &Scene) -> Vec<Outcome> {
    scene
        .callback()
        .seen()
        .iter()
        .map(|seen| seen.outcome)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_3_a_message_goes_to_the_provider_s_url_with_its_own_callback_url() {
    for with_token in [true, false] {
        let scene = scene(only(ExtraProvider {
            protocol: ProtocolKind::Callback { with_token },
            ..texter()
        }))
        .await;
        let message =
            json!({"recipient": 31633450007_u64, "originator": "MB", "message": "Посылка в пути"});
        let id = scene.shop().send(&message).await.unwrap();
        scene.drain().await.unwrap();
        let body = &scene.callback().bodies()[0];
        assert_eq!(
            (&body["to_number"], &body["message"]),
            (&json!("+31633450007"), &message["message"])
        );
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
        let (address, token) = body["callback_url"]
            .as_str()
            .unwrap()
            .split_once("?token=")
            .unwrap();
        assert_eq!(
            address,
            format!("{}/messages/delivery_status/texter/{id}", scene.shop().url)
        );
        let key = CallbackKey::parse("what-proves-the-reports-of-texter").unwrap();
        assert_eq!(token, key.token("texter", &id));
        let (_, page) = scene.operator().get("/batches").await.unwrap();
        assert_eq!(
            page["batches"][0]["request_id"],
            json!(scene.callback().ledger()[0].request_id)
        );
        assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
        scene.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_3_when_a_message_is_sent_the_provider_sends_its_delivery_status() {
    let mut texter = texter();
    texter.options.updates.failing_suffix = Some("1".to_owned());
    texter.options.updates.invalid_suffix = Some("2".to_owned());
    let scene = scene(only(texter)).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(scene.shop().send(&message(n)).await.unwrap());
    }
    scene.drain().await.unwrap();
    let expected = [
        ("DELIVERED", "SENT", None),
        ("FAILED", "SENT", Some("UNDELIVERED")),
        ("FAILED", "SENT", Some("INVALID_RECIPIENT")),
    ];
    for (id, expected) in ids.iter().zip(expected) {
        let message = scene.shop().message(id).await.unwrap();
        assert_eq!(
            (
                shown(&message).0,
                shown(&message).1,
                message["reason"].as_str()
            ),
            expected
        );
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (audit.provider_requests, audit.confirmed_batches),
        (3, 3),
        "each request holds one message"
    );
}

/// Seed 3 repeats such a request at once, and without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_500_is_tried_again_but_not_without_end() {
    let mut texter = texter();
    texter.options.mix = vec![(1.0, Mishap::ServerError)];
    let scene = scene(Settings {
        attempts_max: 1,
        ..only(texter)
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let found = scene.shop().message(&id).await.unwrap();
    assert_eq!(
        (shown(&found), found["reason"].as_str()),
        (("FAILED", "NOT_SENT"), Some("PROVIDER_ERROR"))
    );
    assert_eq!(
        outcomes(&scene),
        [Outcome::Refused(500); 3],
        "three batches, with one attempt each"
    );

    scene.callback().behave();
    let id = scene.shop().send(&message(2)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    scene.finish().await.unwrap();
}

/// Seed 3 takes every answer but a 500 for a success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_status_but_200_is_a_success() {
    let settings = Settings {
        visibility_timeout_s: Some(2),
        timeout_ms: 1_500,
        ..only(texter().by_hand())
    };
    let scene = scene(settings).await;
    for (n, (mishap, expected)) in [
        (
            Mishap::TooMany { retry_after_s: 1 },
            ("CONFIRMED", "SENT", 2),
        ),
        (Mishap::Busy { retry_after_s: 1 }, ("CONFIRMED", "SENT", 2)),
        (Mishap::WrongToken, ("CONFIRMED", "SENT", 2)),
        (Mishap::Redirect, ("CONFIRMED", "SENT", 2)),
        (Mishap::RefuseBatch, ("FAILED", "NOT_SENT", 1)),
        (Mishap::BadGateway, ("ACCEPTED", "UNCONFIRMED", 1)),
        (Mishap::Unreadable, ("ACCEPTED", "UNCONFIRMED", 1)),
    ]
    .into_iter()
    .enumerate()
    {
        let before = scene.callback().seen().len();
        scene.callback().misbehave(mishap.clone());
        let id = scene.shop().send(&message(n)).await.unwrap();
        scene.drain().await.unwrap();
        let found = scene.shop().message(&id).await.unwrap();
        let requests = scene.callback().seen().len() - before;
        assert_eq!(
            (shown(&found).0, shown(&found).1, requests),
            expected,
            "{mishap:?}"
        );
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_stays_unconfirmed_until_it_is_reported() {
    let scene = scene(Settings {
        timeout_ms: 1_500,
        ..only(texter().by_hand())
    })
    .await;
    scene.callback().misbehave(Mishap::AcceptThenSilence);
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(
        look(&scene, &id).await,
        ("ACCEPTED".into(), "UNCONFIRMED".into())
    );
    assert_eq!(
        outcomes(&scene),
        [Outcome::Billed],
        "a time-out is never sent again"
    );
    scene.callback().report(&id, "delivered").unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.confirmed_batches, audit.unknown_batches), (1, 0));
}

/// Seed 3 finds a message by the provider's id, and loses a call that comes before it stores that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_comes_before_the_answer_settles_the_batch() {
    let scene = scene(Settings {
        timeout_ms: 1_500,
        ..only(texter())
    })
    .await;
    scene.callback().misbehave(Mishap::AcceptThenSilence);
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.confirmed_batches, audit.unknown_batches), (1, 0));
}

/// Seed 3's webhook accepts calls without authentication.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_the_token_is_refused_and_changes_nothing() {
    let scene = scene(Settings {
        extra_providers: vec![texter().by_hand(), ExtraProvider::callback("other")],
        ..only(texter())
    })
    .await;
    // Each of the two providers gets its share of these messages.
    let mut ids = post(&scene, 0, 6, 1).await;
    scene.drain().await.unwrap();
    ids.retain(|id| scene.callback().accepted(id).is_ok());
    let (id, second) = (ids.remove(0), ids.remove(0));
    let (url, _) = scene.callback().accepted(&id).unwrap();
    let (address, token) = url.split_once("?token=").unwrap();
    let (second, _) = scene.callback().accepted(&second).unwrap();
    let (_, second) = second.split_once("?token=").unwrap();
    let upper = token.to_uppercase();
    for forged in ["", "0", second, &token[..63], upper.as_str()] {
        let called = report(&format!("{address}?token={forged}"), "delivered").await;
        assert_eq!(
            called,
            (StatusCode::UNAUTHORIZED, "token".to_owned()),
            "{forged}"
        );
    }
    assert_eq!(
        report(address, "delivered").await,
        (StatusCode::UNAUTHORIZED, "token".to_owned())
    );
    // A token for one provider is not valid for another.
    let other = report(&url.replace("/texter/", "/other/"), "delivered").await;
    assert_eq!(other, (StatusCode::UNAUTHORIZED, "token".to_owned()));
    assert_eq!(
        report(&url.replace("/texter/", "/unknown/"), "delivered")
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(look(&scene, &id).await, ("CONFIRMED".into(), "SENT".into()));
    assert_eq!(
        report(&url, "delivered").await,
        (StatusCode::OK, "recorded".to_owned())
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_stale_unknown_and_unreadable_calls_are_answered_and_change_nothing() {
    let scene = scene(only(texter().by_hand())).await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let (url, _) = scene.callback().accepted(&id).unwrap();
    for (status, expected) in [
        ("enjoyed", "not_a_status"),
        ("delivered", "recorded"),
        ("delivered", "repeated"),
        ("failed", "stale"),
    ] {
        assert_eq!(
            report(&url, status).await,
            (StatusCode::OK, expected.to_owned()),
            "{status}"
        );
    }
    let key = CallbackKey::parse("what-proves-the-reports-of-texter").unwrap();
    for unknown in [NEVER, "none"] {
        let (address, _) = url.split_once(&id).unwrap();
        let url = format!("{address}{unknown}?token={}", key.token("texter", unknown));
        assert_eq!(
            report(&url, "delivered").await,
            (StatusCode::OK, "unknown_id".to_owned()),
            "{unknown}"
        );
    }
    for (content_type, body, expected) in [
        ("application/json", "{".to_owned(), (400, "body")),
        ("application/json", "[]".to_owned(), (400, "status")),
        (
            "application/json",
            json!({"message_id": "theirs"}).to_string(),
            (400, "status"),
        ),
        (
            "application/json",
            json!({"status": 7}).to_string(),
            (400, "status"),
        ),
        ("application/json", " ".repeat(16 * 1024 + 1), (413, "body")),
        (
            "text/plain",
            json!({"status": "delivered"}).to_string(),
            (415, "Content-Type"),
        ),
    ] {
        let (status, field) = call(&url, content_type, body).await;
        assert_eq!((status.as_u16(), field.as_str()), expected);
    }
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    scene.finish().await.unwrap();
}
