//! What a client is told about its request, if it is told anything.
//!
//! The work is a task of its own, apart from the connection, so that a client that leaves does not
//! take the work with it. A connection that ends, on the other hand, ends the silence it was kept in.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use jiff::Timestamp;
use reqwest::Url;

use super::contract::{IDEMPOTENCY_KEY, authorize, refusal};
use super::ledger::{Outcome, SeenIndex};
use super::misbehave::Mishap;
use super::provider::{Call, Provider};
use super::wire::{Answer, Hangup};

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) async fn answer(provider: Arc<Provider>, request: Request<Incoming>) -> Result<Answer, Hangup> {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/batches") => batches(provider, head, body).await,
        (&Method::GET, "/invoice") => Ok(invoice(&provider, &head).unwrap_or_else(|refused| refused)),
        _ => Ok(refusal(StatusCode::NOT_FOUND, "not_found", "no such address")),
    }
}

async fn batches(provider: Arc<Provider>, head: Parts, body: Incoming) -> Result<Answer, Hangup> {
    let key = head.headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok()).map(str::to_owned);
    let (seen, mishap) = {
        let mut books = provider.books();
        (books.ledger.arrived(Timestamp::now(), key.clone()), books.mishaps.next())
    };
    if mishap == Some(Mishap::Reset) {
        provider.decide(seen, Outcome::Dropped);
        return Err(Hangup::reset());
    }
    let Some(body) = read(&provider, body, seen).await? else {
        let answer = refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large");
        return Ok(provider.turn_away(seen, answer));
    };
    respond(provider, Call { head, body, key, seen }, mishap).await
}

/// The body, or `None` if it is larger than anybody's batch.
async fn read(provider: &Provider, body: Incoming, seen: SeenIndex) -> Result<Option<Bytes>, Hangup> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(_) => {
            provider.decide(seen, Outcome::Dropped);
            Err(Hangup::closed())
        }
    }
}

/// Has the work done, or not, and tells the client about it, or not.
async fn respond(provider: Arc<Provider>, call: Call, mishap: Option<Mishap>) -> Result<Answer, Hangup> {
    if let Some(instead) = mishap.as_ref().and_then(Mishap::instead) {
        return Ok(provider.turn_away(call.seen, instead));
    }
    let (pause_ms, refused_suffix) = match &mishap {
        Some(Mishap::SilenceBeforeAccepting) => {
            provider.decide(call.seen, Outcome::Dropped);
            return std::future::pending().await;
        }
        Some(Mishap::Latency { ms } | Mishap::LateAccept { ms }) => (*ms, None),
        Some(Mishap::RefuseMessages { recipient_suffix }) => (0, Some(recipient_suffix.clone())),
        _ => (0, None),
    };
    let work = tokio::spawn(provider.work(call, Duration::from_millis(pause_ms), refused_suffix));
    if matches!(mishap, Some(Mishap::LateAccept { .. })) {
        return Err(Hangup::closed());
    }
    // Work that panicked is a mistake of ours; its client sees a connection closed without an answer.
    let answer = work.await.map_err(|_| Hangup::closed())?;
    if answer.status != StatusCode::ACCEPTED {
        return Ok(answer);
    }
    match mishap {
        Some(Mishap::AcceptThenSilence) => std::future::pending().await,
        Some(Mishap::ResetAfterAccepting) => Err(Hangup::reset()),
        Some(Mishap::CutBody) => Err(Hangup::after(first_half_of(&answer))),
        Some(Mishap::Unreadable) => Ok(Answer::new(StatusCode::ACCEPTED, "<h1>Thank you!</h1>")),
        _ => Ok(answer),
    }
}

/// The answer as it would be on the wire, as far as the middle of its body.
fn first_half_of(answer: &Answer) -> Bytes {
    let length = answer.body.len();
    let head = format!("HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), &answer.body[..length / 2]].concat().into()
}

fn invoice(provider: &Provider, head: &Parts) -> Result<Answer, Answer> {
    authorize(head, &provider.token)?;
    let (Some(from), Some(to)) = (instant(head, "from"), instant(head, "to")) else {
        return Err(refusal(StatusCode::BAD_REQUEST, "invalid", "from and to are RFC 3339 times"));
    };
    let lines = provider.books().ledger.invoice(from, to);
    Ok(Answer::new(StatusCode::OK, lines).with(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")))
}

/// A parameter of the query. `Url` undoes its encoding, and needs an origin to do so.
fn instant(head: &Parts, name: &str) -> Option<Timestamp> {
    let url = Url::parse("http://provider").ok()?.join(head.uri.path_and_query()?.as_str()).ok()?;
    let (_, value) = url.query_pairs().find(|(found, _)| found == name)?;
    value.parse().ok()
}
