//! The simulator on the wire, through the HTTP client that our own code uses.

use hyper::header::ACCEPT;
use serde_json::{Value, json};

use super::*;
use crate::simulator::listener::Listener;
use crate::simulator::updates::client;
use crate::simulator::{Mishap, Outcome};

const BATCH: &str = "our batch";

async fn post(bird: &MessageBird, message: &Value) -> reqwest::Response {
    let post = client().unwrap().post(format!("{}/messages", bird.url())).header(ACCEPT, "application/json");
    post.header("Authorization", format!("AccessKey {}", bird.token())).json(message).send().await.unwrap()
}

fn message(report_url: &str) -> Value {
    json!({
        "originator": "MB", "body": "text", "recipients": ["31633450007", "31633450008"], "datacoding": "plain",
        "reference": BATCH, "reportUrl": report_url,
    })
}

#[tokio::test]
async fn a_text_is_taken_billed_and_each_recipient_reported_in_a_signed_call() {
    let listener = Listener::default();
    let bird = MessageBird::start("bird", Options::default()).unwrap();
    let answer = post(&bird, &message(&listener.listen().await)).await;
    assert_eq!(answer.status(), 201);
    let answer: Value = answer.json().await.unwrap();
    bird.updates_settled().await.unwrap();

    let billed = &bird.ledger()[0];
    assert_eq!((answer["id"].as_str(), billed.batch_id.as_str()), (Some(billed.request_id.as_str()), BATCH));
    assert_eq!(billed.messages, ["31633450007", "31633450008"]);
    assert_eq!(answer["recipients"]["items"][1]["recipient"], 31_633_450_008_u64);
    let calls = listener.got();
    assert_eq!(calls.len(), 4, "sent and delivered, for two");
    assert!(calls.iter().all(|(head, body)| head.contains_key("messagebird-signature-jwt") && body.is_empty()));
}

#[tokio::test]
async fn each_wrong_field_refuses_the_request_with_its_document() {
    let bird = MessageBird::start("bird", Options { batch_size_max: 2, ..Options::default() }).unwrap();
    for (field, wrong) in [
        ("originator", json!("Twelve chars")),
        ("body", json!("")),
        ("body", json!("в пути")),
        ("datacoding", json!("unicode")),
        ("datacoding", json!("auto")),
        ("recipients", json!([])),
        ("recipients", json!(["+31633450007"])),
        ("recipients", json!(["31633450007", "31633450007"])),
        ("recipients", json!(["31633450007", "31633450008", "31633450009"])),
        ("recipients", json!([31_633_450_007_u64])),
        ("reference", json!("")),
        ("reportUrl", json!("somewhere")),
        ("surprise", json!(true)),
    ] {
        let mut message = message("http://127.0.0.1:1/report");
        message[field] = wrong;
        let answer = post(&bird, &message).await;
        assert_eq!(answer.status(), 422, "{message}");
        assert!(answer.json::<Value>().await.unwrap()["errors"][0]["code"].is_u64());
    }
    assert_eq!(bird.billed_requests(), 0);
}

#[tokio::test]
async fn a_wrong_key_and_a_mishap_take_nothing() {
    let bird = MessageBird::start("bird", Options::default()).unwrap();
    let wrong = client().unwrap().post(format!("{}/messages", bird.url())).header("Authorization", "AccessKey x");
    let answer = wrong.json(&message("http://127.0.0.1:1/report")).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await.unwrap()["errors"][0]["code"], 2);
    bird.misbehave(Mishap::ServerError);
    bird.misbehave(Mishap::RefuseMessages { recipient_suffix: "8".into() });
    for status in [500, 422] {
        assert_eq!(post(&bird, &message("http://127.0.0.1:1/report")).await.status(), status);
    }
    let outcomes: Vec<_> = bird.seen().into_iter().map(|seen| seen.outcome).collect();
    assert_eq!(outcomes, [401, 500, 422].map(Outcome::Refused));
}
