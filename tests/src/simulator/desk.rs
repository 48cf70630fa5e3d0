//! What a client is told about its request, if it is told anything.
//!
//! The work is a task of its own, apart from the connection, so that a client that leaves does not
//! take the work with it. A connection that ends, on the other hand, ends the silence it was kept in.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use jiff::Timestamp;

use super::dialect::{Call, Dialect};
use super::ledger::{Outcome, SeenIndex};
use super::misbehave::Mishap;
use super::provider::Provider;
use super::wire::{Answer, Hangup};

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) async fn answer<D: Dialect>(
    provider: Arc<Provider<D>>,
    request: Request<Incoming>,
) -> Result<Answer, Hangup> {
    let (head, body) = request.into_parts();
    match provider.dialect.carries(&head) {
        true => carry(provider, head, body).await,
        false => Ok(provider.dialect.aside(&head, &provider.books().ledger)),
    }
}

async fn carry<D: Dialect>(provider: Arc<Provider<D>>, head: Parts, body: Incoming) -> Result<Answer, Hangup> {
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
        let answer = D::refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large");
        return Ok(provider.turn_away(seen, answer));
    };
    provider.books().bodies.push(body.clone());
    respond(provider, Call { head, body, key }, seen, mishap).await
}

/// The body, or `None` if it is larger than anybody's batch.
async fn read<D: Dialect>(provider: &Provider<D>, body: Incoming, seen: SeenIndex) -> Result<Option<Bytes>, Hangup> {
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
async fn respond<D: Dialect>(
    provider: Arc<Provider<D>>,
    call: Call,
    seen: SeenIndex,
    mishap: Option<Mishap>,
) -> Result<Answer, Hangup> {
    if let Some(instead) = mishap.as_ref().and_then(|mishap| mishap.instead(D::refusal)) {
        return Ok(provider.turn_away(seen, instead));
    }
    let (pause_ms, refused_suffix) = match &mishap {
        Some(Mishap::SilenceBeforeAccepting) => {
            provider.decide(seen, Outcome::Dropped);
            return std::future::pending().await;
        }
        Some(Mishap::Latency { ms } | Mishap::LateAccept { ms }) => (*ms, None),
        Some(Mishap::RefuseMessages { recipient_suffix }) => (0, Some(recipient_suffix.clone())),
        _ => (0, None),
    };
    let work = tokio::spawn(provider.work(call, seen, Duration::from_millis(pause_ms), refused_suffix));
    if matches!(mishap, Some(Mishap::LateAccept { .. })) {
        return Err(Hangup::closed());
    }
    // Work that panicked is a mistake of ours; its client sees a connection closed without an answer.
    let answer = work.await.map_err(|_| Hangup::closed())?;
    if answer.status != D::TAKEN {
        return Ok(answer);
    }
    match mishap {
        Some(Mishap::AcceptThenSilence) => std::future::pending().await,
        Some(Mishap::ResetAfterAccepting) => Err(Hangup::reset()),
        Some(Mishap::CutBody) => Err(Hangup::after(first_half_of(&answer))),
        Some(Mishap::Unreadable) => Ok(Answer::new(D::TAKEN, "<h1>Thank you!</h1>")),
        _ => Ok(answer),
    }
}

/// The answer as it would be on the wire, as far as the middle of its body.
fn first_half_of(answer: &Answer) -> Bytes {
    let (status, length) = (answer.status, answer.body.len());
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), &answer.body[..length / 2]].concat().into()
}
