//! Tests of the simulator through the HTTP client that the product uses.

use std::error::Error;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::simulator::listener::{Listener, SECRET};
use crate::simulator::updates;

/// How long a client waits for an answer that never comes. A busy machine begins the work within
/// this time.
const PATIENCE_SHORT: Duration = Duration::from_secs(1);
/// How long a client waits for any other answer.
const PATIENCE: Duration = Duration::from_secs(30);

fn start(options: Options) -> FastSmsing {
    FastSmsing::start("fastsmsing", options).unwrap()
}

/// A provider that sends no updates by itself, and whose next request has this mishap.
fn about_to(mishap: Mishap, key_lifetime_s: u64) -> FastSmsing {
    let updates = UpdateOptions {
        automatic: false,
        ..UpdateOptions::default()
    };
    let provider = start(Options {
        key_lifetime_s,
        updates,
        ..Options::default()
    });
    provider.misbehave(mishap);
    provider
}

fn batch(ids: &[&str]) -> Value {
    let message = |id| {
        json!({
            "message_id": id,
            "phone_number": format!("+3163345000{}", ids.len()),
            "originator": "MB",
            "message": "text",
        })
    };
    json!({"batch_id": "b", "messages": ids.iter().map(message).collect::<Vec<_>>()})
}

async fn post(provider: &FastSmsing, ids: &[&str]) -> reqwest::Result<reqwest::Response> {
    post_and_wait(provider, ids, PATIENCE).await
}

async fn post_and_wait(
    provider: &FastSmsing,
    ids: &[&str],
    patience: Duration,
) -> reqwest::Result<reqwest::Response> {
    updates::client()
        .unwrap()
        .post(format!("{}/batches", provider.url()))
        .bearer_auth(provider.token())
        .header("Idempotency-Key", "b")
        .timeout(patience)
        .json(&batch(ids))
        .send()
        .await
}

fn outcomes(provider: &FastSmsing) -> Vec<Outcome> {
    provider.seen().iter().map(|seen| seen.outcome).collect()
}

/// The error of the socket, inside everything that the client wraps around it.
fn io_error(error: &reqwest::Error) -> Option<io::ErrorKind> {
    std::iter::successors(error.source(), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
}

#[tokio::test]
async fn a_batch_is_accepted_billed_and_reported() {
    let listener = Listener::default();
    let provider = start(Options::default());
    provider.point_at(&listener.listen().await, SECRET).unwrap();

    let answer: Value = post(&provider, &["a", "b"])
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    provider.updates_settled().await.unwrap();

    let ledger = provider.ledger();
    assert_eq!(
        answer,
        json!({"request_id": ledger[0].request_id, "accepted": 2, "refused": []})
    );
    assert_eq!(
        (ledger.len(), &ledger[0].messages[..]),
        (1, &["a".to_owned(), "b".to_owned()][..])
    );
    assert_eq!(
        (
            provider.billed_requests(),
            provider.sizes(),
            provider.times_sent("a")
        ),
        (1, vec![2], 1)
    );
    assert_eq!(outcomes(&provider), [Outcome::Billed]);
    let bodies: Vec<_> = listener.got().into_iter().map(|(_, body)| body).collect();
    assert_eq!(
        bodies,
        [
            r#"{"a":"CONFIRMED","b":"CONFIRMED"}"#,
            r#"{"a":"DELIVERED","b":"DELIVERED"}"#
        ]
    );
}

#[tokio::test]
async fn a_report_by_hand_is_the_only_one_when_reports_are_by_hand() {
    let listener = Listener::default();
    let provider = about_to(Mishap::Latency { ms: 1 }, 0);
    provider.point_at(&listener.listen().await, SECRET).unwrap();
    post(&provider, &["a"]).await.unwrap();
    provider.report(&["a", "never sent"], Status::Failed);
    provider.updates_settled().await.unwrap();
    assert_eq!(listener.got().len(), 1);
    assert_eq!(
        listener.got()[0].1,
        r#"{"a":"FAILED","never sent":"FAILED"}"#
    );
}

#[tokio::test]
async fn without_keys_a_repeat_is_billed_again() {
    let provider = start(Options::default());
    for _ in 0..2 {
        assert_eq!(post(&provider, &["a"]).await.unwrap().status(), 202);
    }
    assert_eq!(
        (provider.billed_requests(), provider.sent_twice()),
        (2, vec!["a".to_owned()])
    );
}

#[tokio::test]
async fn with_keys_a_repeat_gets_the_first_answer_even_if_that_was_lost() {
    let provider = about_to(Mishap::AcceptThenSilence, 60);
    let silence = post_and_wait(&provider, &["a"], PATIENCE_SHORT).await;
    assert!(silence.unwrap_err().is_timeout());

    let again = post(&provider, &["a"]).await.unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            &again.headers()["idempotent-replayed"]
        ),
        (202, &"true".parse().unwrap())
    );
    let again: Value = again.json().await.unwrap();
    assert_eq!(again["request_id"], provider.ledger()[0].request_id);

    assert_eq!(post(&provider, &["b"]).await.unwrap().status(), 422);
    assert_eq!(
        outcomes(&provider),
        [Outcome::Billed, Outcome::Replayed, Outcome::Refused(422)]
    );
    assert_eq!(provider.sent_twice(), Vec::<String>::new());
}

#[tokio::test]
async fn a_key_in_work_is_a_conflict() {
    let provider = about_to(Mishap::LateAccept { ms: 60_000 }, 60);
    assert!(post(&provider, &["a"]).await.is_err());
    assert_eq!(post(&provider, &["a"]).await.unwrap().status(), 409);
    assert_eq!(outcomes(&provider), [Outcome::Open, Outcome::Refused(409)]);
}

#[tokio::test]
async fn an_answer_in_place_of_work_takes_nothing() {
    for (mishap, status, header) in [
        (
            Mishap::TooMany { retry_after_s: 3 },
            429,
            Some(("retry-after", "3")),
        ),
        (
            Mishap::Busy { retry_after_s: 4 },
            503,
            Some(("retry-after", "4")),
        ),
        (
            Mishap::ServerError,
            500,
            Some(("content-type", "application/json")),
        ),
        (Mishap::BadGateway, 502, None),
        (Mishap::WrongToken, 401, None),
        (Mishap::Redirect, 302, Some(("location", "/elsewhere"))),
        (
            Mishap::RefuseBatch,
            400,
            Some(("content-type", "application/json")),
        ),
    ] {
        let provider = about_to(mishap, 60);
        let answer = post(&provider, &["a"]).await.unwrap();
        assert_eq!(answer.status(), status);
        if let Some((name, value)) = header {
            assert_eq!(answer.headers()[name], value);
        }
        assert_eq!(
            (outcomes(&provider), provider.billed_requests()),
            (vec![Outcome::Refused(status)], 0)
        );
        assert_eq!(
            post(&provider, &["a"]).await.unwrap().status(),
            202,
            "the key is still free"
        );
    }
}

#[tokio::test]
async fn both_silences_look_the_same_and_one_was_billed() {
    for (mishap, outcome) in [
        (Mishap::AcceptThenSilence, Outcome::Billed),
        (Mishap::SilenceBeforeAccepting, Outcome::Dropped),
    ] {
        let provider = about_to(mishap, 0);
        let error = post_and_wait(&provider, &["a"], PATIENCE_SHORT)
            .await
            .unwrap_err();
        assert!(error.is_timeout() && !error.is_connect(), "{error:?}");
        assert_eq!(outcomes(&provider), [outcome]);
    }
}

#[tokio::test]
async fn both_resets_look_the_same_and_one_was_billed() {
    for (mishap, outcome) in [
        (Mishap::ResetAfterAccepting, Outcome::Billed),
        (Mishap::Reset, Outcome::Dropped),
    ] {
        let provider = about_to(mishap, 0);
        let error = post(&provider, &["a"]).await.unwrap_err();
        assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
        assert_eq!(
            io_error(&error),
            Some(io::ErrorKind::ConnectionReset),
            "{error:?}"
        );
        assert_eq!(outcomes(&provider), [outcome]);
    }
}

#[tokio::test]
async fn a_cut_and_an_unreadable_body_are_billed() {
    for (mishap, cut) in [(Mishap::CutBody, true), (Mishap::Unreadable, false)] {
        let provider = about_to(mishap, 0);
        let answer = post(&provider, &["a"]).await.unwrap();
        assert_eq!(answer.status(), 202);
        let body = answer.bytes().await;
        assert_eq!(body.is_err(), cut);
        assert!(body.is_err_and(|error| error.is_body() || error.is_decode()) || !cut);
        assert_eq!(outcomes(&provider), [Outcome::Billed]);
    }
}

#[tokio::test]
async fn a_late_batch_is_billed_after_its_client_was_turned_away() {
    let provider = about_to(Mishap::LateAccept { ms: 100 }, 0);
    let error = post(&provider, &["a"]).await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
    provider.updates_settled().await.unwrap();
    assert_eq!(outcomes(&provider), [Outcome::Billed]);
}

#[tokio::test]
async fn slow_work_goes_on_when_its_client_has_left() {
    let ms = 2 * PATIENCE_SHORT.as_millis() as u64;
    let provider = about_to(Mishap::Latency { ms }, 0);
    let error = post_and_wait(&provider, &["a"], PATIENCE_SHORT)
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    provider.updates_settled().await.unwrap();
    assert_eq!(outcomes(&provider), [Outcome::Billed]);
}

#[tokio::test]
async fn some_messages_are_refused_and_the_rest_is_accepted() {
    let provider = about_to(
        Mishap::RefuseMessages {
            recipient_suffix: "2".into(),
        },
        0,
    );
    let answer: Value = post(&provider, &["a", "b"])
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["accepted"], 0);
    assert_eq!(
        answer["refused"][1],
        json!({"message_id": "b", "reason": "INVALID_RECIPIENT"})
    );
    assert_eq!(
        (provider.billed_requests(), provider.times_sent("a")),
        (1, 0)
    );
}

#[tokio::test]
async fn the_invoice_lists_billed_requests_for_those_who_have_the_token() {
    let provider = start(Options::default());
    post(&provider, &["a", "b"]).await.unwrap();
    let ask = |query: &str| {
        updates::client()
            .unwrap()
            .get(format!("{}/invoice?{query}", provider.url()))
    };
    let all = "from=2020-01-01T00%3A00%3A00Z&to=2120-01-01T00:00:00Z";

    let invoice = ask(all)
        .bearer_auth(provider.token())
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line: Value = serde_json::from_str(&invoice).unwrap();
    let billed = &provider.ledger()[0];
    let expected = json!({
        "request_id": billed.request_id,
        "batch_id": "b",
        "at": billed.at,
        "messages": 2,
        "requests": 1,
    });
    assert_eq!(line, expected);

    assert_eq!(
        ask(all).bearer_auth("wrong").send().await.unwrap().status(),
        401
    );
    assert_eq!(
        ask("from=monday")
            .bearer_auth(provider.token())
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
}

#[tokio::test]
async fn after_the_drop_nothing_listens() {
    let provider = about_to(Mishap::LateAccept { ms: 60_000 }, 0);
    assert!(post(&provider, &["a"]).await.is_err());
    let url = provider.url().to_owned();
    drop(provider);
    assert!(
        updates::client()
            .unwrap()
            .get(url)
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );
}
