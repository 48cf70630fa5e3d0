//! Tests of the simulator through the HTTP client that the product uses.

use serde_json::{Value, json};

use super::*;
use crate::simulator::Mishap;
use crate::simulator::listener::Listener;
use crate::simulator::updates::client;

async fn post(callback: &Callback, message: &Value) -> reqwest::Response {
    let post = client().unwrap().post(callback.send_url()).json(message);
    let post = if callback.token().is_empty() {
        post
    } else {
        post.bearer_auth(callback.token())
    };
    post.send().await.unwrap()
}

fn message(callback_url: &str) -> Value {
    json!({"to_number": "+31633450007", "message": "text", "callback_url": callback_url})
}

#[tokio::test]
async fn a_message_is_accepted_billed_and_reported_to_its_own_address() {
    let listener = Listener::default();
    for with_token in [true, false] {
        let callback = Callback::start("texter", with_token, Options::default()).unwrap();
        let answer = post(&callback, &message(&listener.listen().await)).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        callback.updates_settled().await.unwrap();
        let billed = &callback.ledger()[0];
        assert_eq!(
            (&answer, &billed.messages[..]),
            (
                &json!({"message_id": billed.request_id}),
                &["hook".to_owned()][..]
            )
        );
        let (_, body) = listener.got().pop().unwrap();
        let reported: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            reported,
            json!({"status": "delivered", "message_id": billed.request_id})
        );
    }
    assert_eq!(listener.got().len(), 2);
}

#[tokio::test]
async fn each_wrong_field_refuses_the_request() {
    let callback = Callback::start("texter", true, Options::default()).unwrap();
    for (field, wrong) in [
        ("to_number", json!("31633450007")),
        ("to_number", json!(31_633_450_007_u64)),
        ("message", json!("")),
        ("callback_url", json!("http://127.0.0.1:1/")),
        ("callback_url", json!("somewhere")),
        ("originator", json!("MB")),
    ] {
        let mut message = message("http://127.0.0.1:1/m");
        message[field] = wrong;
        assert_eq!(post(&callback, &message).await.status(), 400, "{message}");
    }
    let wrong = client()
        .unwrap()
        .post(callback.send_url())
        .bearer_auth("wrong")
        .json(&message("http://127.0.0.1:1/m"));
    assert_eq!(wrong.send().await.unwrap().status(), 401);
    callback.misbehave(Mishap::ServerError);
    assert_eq!(
        post(&callback, &message("http://127.0.0.1:1/m"))
            .await
            .status(),
        500
    );
    assert_eq!((callback.billed_requests(), callback.seen().len()), (0, 8));
}
