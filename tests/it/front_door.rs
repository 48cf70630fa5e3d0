//! Bad input is answered with the field that is wrong, and nothing private is logged.

use fastrand::Rng;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::{Caller, message};
use tests::fastsmsing::Mishap;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::task::JoinSet;

use crate::support::{by_hand, post, scene};

const BAD_POSTS: usize = 7_000;
const BAD_REPORTS: usize = 3_000;
const CALLERS: usize = 8;
const FIELDS: [&str; 5] = [
    "originator",
    "message",
    "recipient",
    "reference",
    "valid_until",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_bad_requests_are_each_answered_with_the_field_that_is_wrong() {
    let scene = scene(Settings::default()).await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let shop = scene.shop().clone();
        callers.spawn(async move {
            let mut chance = Rng::with_seed(caller as u64);
            for _ in 0..BAD_POSTS / CALLERS {
                post_badly(&shop, &mut chance).await;
            }
        });
    }
    callers.join_all().await;
    let mut chance = Rng::with_seed(99);
    for _ in 0..BAD_REPORTS {
        report_badly(&scene, &mut chance).await;
    }
    assert!(
        scene.shop().list(10).await.unwrap().is_empty(),
        "no bad request was recorded"
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.provider_requests, 0);
}

/// Makes one bad POST /messages, and checks its answer.
async fn post_badly(shop: &Caller, chance: &mut Rng) {
    let field = FIELDS[chance.usize(..FIELDS.len())];
    let mut body = message(1);
    let (content_type, bytes, expected) = match chance.u8(..6) {
        0 => ("text/plain", body.to_string().into_bytes(), "Content-Type"),
        1 => {
            let text = body.to_string();
            (
                "application/json",
                text.as_bytes()[..chance.usize(..text.len())].to_vec(),
                "body",
            )
        }
        2 => (
            "application/json",
            rubbish(chance).to_string().into_bytes(),
            "body",
        ),
        3 => {
            body["priority"] = rubbish(chance);
            (
                "application/json",
                body.to_string().into_bytes(),
                "priority",
            )
        }
        4 => {
            let required = FIELDS[chance.usize(..3)];
            body.as_object_mut().unwrap().remove(required);
            ("application/json", body.to_string().into_bytes(), required)
        }
        _ => {
            body[field] = rubbish(chance);
            ("application/json", body.to_string().into_bytes(), field)
        }
    };
    let sent = String::from_utf8_lossy(&bytes).into_owned();
    let (status, problem) = shop.post_bytes(content_type, bytes).await.unwrap();
    let expected_status = if expected == "Content-Type" {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        StatusCode::BAD_REQUEST
    };
    assert_eq!(
        (status, problem["field"].as_str()),
        (expected_status, Some(expected)),
        "{sent}: {problem}"
    );
    assert!(
        problem["type"]
            .as_str()
            .unwrap()
            .starts_with("urn:sms-proxy:problem:"),
        "{problem}"
    );
}

/// A value that is valid for no field of a message, and that is not a message itself.
fn rubbish(chance: &mut Rng) -> Value {
    let text = || {
        std::iter::repeat_with(|| char::from(33))
            .take(400)
            .collect::<String>()
    };
    match chance.u8(..9) {
        0 => json!(true),
        1 => json!(-31_600_000_001_i64),
        2 => json!(3.5),
        3 => json!([message(1)]),
        4 => json!(""),
        5 => json!(text().repeat(10)),
        6 => json!([]),
        7 => json!(0),
        _ => json!([[[{"a": null}]]]),
    }
}

/// Makes one bad webhook call, which is unsigned, wrongly signed, stale, or signed rubbish, and
/// checks its answer.
async fn report_badly(scene: &Scene, chance: &mut Rng) {
    let body = json!({"0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57": "DELIVERED"})
        .to_string()
        .into_bytes();
    let now = jiff::Timestamp::now().as_second().to_string();
    let signed = |id, at, signature| {
        [
            ("webhook-id", id),
            ("webhook-timestamp", at),
            ("webhook-signature", signature),
        ]
    };
    let ((status, problem), expected) = match chance.u8(..5) {
        0 => (
            scene.report_with(body, &[]).await.unwrap(),
            (401, "webhook-id"),
        ),
        1 => (
            scene
                .report_with(body, &signed("1", "1614265330", "v1,AAAA"))
                .await
                .unwrap(),
            (401, "webhook-timestamp"),
        ),
        2 => (
            scene
                .report_with(body, &signed("1", &now, "v1,AAAA"))
                .await
                .unwrap(),
            (401, "webhook-signature"),
        ),
        3 => (
            scene
                .report(body[..chance.usize(..body.len())].to_vec())
                .await
                .unwrap(),
            (400, "body"),
        ),
        _ => (
            scene
                .report(json!(chance.bool()).to_string().into_bytes())
                .await
                .unwrap(),
            (400, "body"),
        ),
    };
    assert_eq!(
        (status.as_u16(), problem["field"].as_str().unwrap()),
        expected,
        "{problem}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_a_413() {
    let scene = scene(Settings::default()).await;
    let mut large = message(1);
    large["message"] = "x".repeat(16 * 1024).into();
    let (status, problem) = scene
        .shop()
        .post_bytes("application/json", large.to_string().into_bytes())
        .await
        .unwrap();
    assert_eq!(
        (status.as_u16(), problem["field"].as_str()),
        (413, Some("body"))
    );
    let (status, problem) = scene.report(vec![b' '; 1024 * 1024 + 1]).await.unwrap();
    assert_eq!(
        (status.as_u16(), problem["field"].as_str()),
        (413, Some("body"))
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_cannot_be_read_does_not_fail_the_others() {
    let scene = scene(Settings {
        batch_size: 1,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let id = scene.shop().send(&message(1)).await.unwrap();
    scene.drain().await.unwrap();
    let body = json!([
        7,
        {"message_id": "x", "status": "DELIVERED"},
        {"message_id": id, "status": "ACCEPTED"},
        {"message_id": id, "status": "DELIVERED"},
        {"message_id": id, "status": "DELIVERED"},
        {"message_id": id, "status": "FAILED"}
    ]);
    let (status, answer) = scene.report(body.to_string().into_bytes()).await.unwrap();
    let results: Vec<_> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["result"].as_str().unwrap())
        .collect();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        results,
        [
            "malformed",
            "unknown_id",
            "not_a_status",
            "recorded",
            "repeated",
            "stale"
        ]
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 1);
}

/// Calls that are refused, and that put a canary wherever a caller can put a text.
async fn call_with_canaries(scene: &Scene) {
    let stranger = scene.shop().with_key("CANARY-key");
    let bad = json!({
        "originator": "CANARY", "message": "CANARY", "recipient": "CANARY", "CANARY": 1
    });
    for caller in [scene.shop(), &stranger] {
        caller.post(&message(1)).await.unwrap();
        caller.post(&bad).await.unwrap();
        caller.get("/messages/CANARY").await.unwrap();
        caller.get("/messages?recipient=31600000001").await.unwrap();
        caller.get("/messages?CANARY=CANARY").await.unwrap();
    }
    scene
        .report(json!({"CANARY": "CANARY"}).to_string().into_bytes())
        .await
        .unwrap();
    scene.report(b"CANARY".to_vec()).await.unwrap();
}

/// No fault and no refusal brings a number, a text or a key into the logs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_text_or_key_is_in_any_log_line() {
    let settings = Settings {
        batch_size: 5,
        timeout_ms: 1_500,
        visibility_timeout_s: Some(2),
        ..Settings::default()
    };
    let scene = scene(settings).await;
    let canaries = [
        "31600000",
        "on its way",
        "CANARY",
        scene.shop().key.as_str(),
        scene.fastsmsing.token(),
        scene.webhook_secret(),
    ];
    for mishap in [
        Mishap::ServerError,
        Mishap::RefuseBatch,
        Mishap::CutBody,
        Mishap::WrongToken,
        Mishap::AcceptThenSilence,
    ] {
        scene.fastsmsing.misbehave(mishap);
    }
    post(&scene, 0, 25, 2).await;
    scene.drain().await.unwrap();
    scene
        .stack
        .dynamo_wire
        .set_rule(|seen| match seen.operation.as_deref() {
            Some("PutItem" | "Query") => Fault::CutBody,
            _ => Fault::Pass,
        });
    call_with_canaries(&scene).await;
    scene.stack.dynamo_wire.clear_rule();

    let lines = scene.stack.logs();
    assert!(lines.len() > 30, "there are only {} lines", lines.len());
    for line in &lines {
        let found = canaries.iter().find(|canary| line.text.contains(**canary));
        assert_eq!(found, None, "{}: {}", line.function, line.text);
    }
    drop(scene.without_audit());
}
