//! Tests of the simulator through the HTTP client that the product uses.

use hyper::header::ACCEPT;
use serde_json::{Value, json};

use super::*;
use crate::simulator::listener::Listener;
use crate::simulator::updates::client;
use crate::simulator::{Mishap, Outcome};

const BATCH: &str = "our batch";

async fn post(messagebird: &MessageBird, message: &Value) -> reqwest::Response {
    let post = client()
        .unwrap()
        .post(format!("{}/messages", messagebird.url()))
        .header(ACCEPT, "application/json");
    post.header(
        "Authorization",
        format!("AccessKey {}", messagebird.token()),
    )
    .json(message)
    .send()
    .await
    .unwrap()
}

fn message(report_url: &str) -> Value {
    json!({
        "originator": "MB",
        "body": "text",
        "recipients": ["31633450007", "31633450008"],
        "datacoding": "plain",
        "reference": BATCH,
        "reportUrl": report_url,
    })
}

#[tokio::test]
async fn a_text_is_accepted_and_each_recipient_reported_in_a_signed_call() {
    let listener = Listener::default();
    let messagebird = MessageBird::start("bird", Options::default()).unwrap();
    let answer = post(&messagebird, &message(&listener.listen().await)).await;
    assert_eq!(answer.status(), 201);
    let answer: Value = answer.json().await.unwrap();
    messagebird.updates_settled().await.unwrap();

    let billed = &messagebird.ledger()[0];
    assert_eq!(
        (answer["id"].as_str(), billed.batch_id.as_str()),
        (Some(billed.request_id.as_str()), BATCH)
    );
    assert_eq!(billed.messages, ["31633450007", "31633450008"]);
    assert_eq!(
        answer["recipients"]["items"][1]["recipient"],
        31_633_450_008_u64
    );
    let calls = listener.got();
    assert_eq!(calls.len(), 4, "sent and delivered, for two");
    assert!(
        calls
            .iter()
            .all(|(head, body)| head.contains_key("messagebird-signature-jwt") && body.is_empty())
    );
}

#[tokio::test]
async fn each_wrong_field_refuses_the_request_with_its_document() {
    let messagebird = MessageBird::start(
        "messagebird",
        Options {
            batch_size_max: 2,
            ..Options::default()
        },
    )
    .unwrap();
    for (field, wrong) in [
        ("originator", json!("Twelve chars")),
        ("body", json!("")),
        ("body", json!("в пути")),
        ("datacoding", json!("unicode")),
        ("datacoding", json!("auto")),
        ("recipients", json!([])),
        ("recipients", json!(["+31633450007"])),
        ("recipients", json!(["31633450007", "31633450007"])),
        (
            "recipients",
            json!(["31633450007", "31633450008", "31633450009"]),
        ),
        ("recipients", json!([31_633_450_007_u64])),
        ("reference", json!("")),
        ("reportUrl", json!("somewhere")),
        ("surprise", json!(true)),
    ] {
        let mut message = message("http://127.0.0.1:1/report");
        message[field] = wrong;
        let answer = post(&messagebird, &message).await;
        assert_eq!(answer.status(), 422, "{message}");
        assert!(answer.json::<Value>().await.unwrap()["errors"][0]["code"].is_u64());
    }
    assert_eq!(messagebird.billed_requests(), 0);
}

#[tokio::test]
async fn nothing_is_accepted_with_a_wrong_key_or_a_mishap() {
    let messagebird = MessageBird::start("bird", Options::default()).unwrap();
    let wrong = client()
        .unwrap()
        .post(format!("{}/messages", messagebird.url()))
        .header("Authorization", "AccessKey x");
    let answer = wrong
        .json(&message("http://127.0.0.1:1/report"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["errors"][0]["code"],
        2
    );
    messagebird.misbehave(Mishap::ServerError);
    messagebird.misbehave(Mishap::RefuseMessages {
        recipient_suffix: "8".into(),
    });
    for status in [500, 422] {
        assert_eq!(
            post(&messagebird, &message("http://127.0.0.1:1/report"))
                .await
                .status(),
            status
        );
    }
    let outcomes: Vec<_> = messagebird
        .seen()
        .into_iter()
        .map(|seen| seen.outcome)
        .collect();
    assert_eq!(outcomes, [401, 500, 422].map(Outcome::Refused));
}
