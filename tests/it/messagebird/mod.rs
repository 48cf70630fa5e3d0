//! MessageBird as the provider: what the product sends to it, and what it reports.

mod reports;
mod sending;

use jiff::Timestamp;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tests::fastsmsing::Mishap;
use tests::messagebird::Token;
use tests::providers::ExtraProvider;
use tests::scene::{Scene, Settings};

use crate::support::scene;

const HEADER: &str = "MessageBird-Signature-JWT";

/// Settings with this provider alone.
fn only(other: ExtraProvider) -> Settings {
    Settings {
        fastsmsing_configured: false,
        extra_providers: vec![other],
        ..Settings::default()
    }
}

fn bird() -> ExtraProvider {
    ExtraProvider::messagebird("bird")
}

/// The same text, to recipient `n`.
fn same_text(n: usize) -> Value {
    let text = "The shop is closed today.";
    json!({"recipient": format!("+{}", digits(n)), "originator": "MB", "message": text})
}

fn digits(n: usize) -> String {
    format!("316334500{n:02}")
}

async fn send(scene: &Scene, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(scene.shop().send(&same_text(n)).await.unwrap());
    }
    ids
}

/// Calls a report URL; returns the status, and the result or the field of the problem.
async fn call(url: &str, token: Option<&str>, body: &'static str) -> (StatusCode, String) {
    let request = Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(url)
        .body(body);
    let request = token
        .into_iter()
        .fold(request, |request, token| request.header(HEADER, token));
    let response = request.send().await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    let result = if status.is_success() {
        &answer["results"][0]["result"]
    } else {
        &answer["field"]
    };
    (status, result.as_str().unwrap_or_default().to_owned())
}

fn token(scene: &Scene, url: &str) -> String {
    Token::about(url, Timestamp::now().as_second()).signed(scene.messagebird().signing_key())
}

/// The newest batch.
async fn batch(scene: &Scene) -> Value {
    let (_, page) = scene
        .operator()
        .get("/batches?provider=bird")
        .await
        .unwrap();
    page["batches"][0].clone()
}

/// Seed 2 logs the key and the text of a message that it could not send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_number_or_text_is_in_any_log_line() {
    let scene = scene(Settings {
        timeout_ms: 1_500,
        visibility_timeout_s: Some(2),
        ..only(bird())
    })
    .await;
    for mishap in [
        Mishap::ServerError,
        Mishap::WrongToken,
        Mishap::Unreadable,
        Mishap::RefuseBatch,
    ] {
        scene.messagebird().misbehave(mishap);
        scene.shop().send(&same_text(1)).await.unwrap();
        scene.drain().await.unwrap();
    }
    let url = scene
        .messagebird()
        .report_url(&digits(1), "enjoyed", None)
        .unwrap();
    let (good, forged) = (token(&scene, &url), Token::about(&url, 0).signed("x"));
    call(&url, Some(&good), "").await;
    call(&url, Some(&forged), "").await;
    let (token, key) = (
        scene.messagebird().token(),
        scene.messagebird().signing_key(),
    );
    let canaries = [
        token,
        key,
        good.as_str(),
        "enjoyed",
        "31633450001",
        "closed today",
    ];
    for line in scene.stack.logs() {
        let found = canaries.iter().find(|canary| line.text.contains(**canary));
        assert_eq!(found, None, "{}: {}", line.function, line.text);
    }
    scene.finish().await.unwrap();
}
