//! Handles one request: lets the provider work on it, and answers, or misbehaves as the request's
//! [`Mishap`] says.
//!
//! The work is a task of its own, so it continues when its client leaves. A silence belongs to the
//! connection, and ends with it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use jiff::Timestamp;

use super::connection::{Answer, Hangup};
use super::ledger::{Outcome, SeenIndex};
use super::mishap::Mishap;
use super::protocol::{Protocol, ProviderRequest};
use super::provider::Provider;

/// The largest body that is read: more than the largest batch needs.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers one request, whatever it is for.
pub(super) async fn answer<D: Protocol>(
    provider: Arc<Provider<D>>,
    request: Request<Incoming>,
) -> Result<Answer, Hangup> {
    let (head, body) = request.into_parts();
    match provider.protocol.carries_messages(&head) {
        true => receive(provider, head, body).await,
        false => Ok(provider
            .protocol
            .answer_other(&head, &provider.shared().ledger)),
    }
}

/// Records a request that carries messages, and reads its body.
async fn receive<D: Protocol>(
    provider: Arc<Provider<D>>,
    head: Parts,
    body: Incoming,
) -> Result<Answer, Hangup> {
    let key = head
        .headers
        .get(IDEMPOTENCY_KEY)
        .and_then(|key| key.to_str().ok())
        .map(str::to_owned);
    let (seen, mishap) = {
        let mut shared = provider.shared();
        (
            shared.ledger.arrived(Timestamp::now(), key.clone()),
            shared.mishaps.next(),
        )
    };
    if mishap == Some(Mishap::Reset) {
        provider.decide(seen, Outcome::Dropped);
        return Err(Hangup::reset());
    }
    let Some(body) = read(&provider, body, seen).await? else {
        let answer = D::refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body is too large",
        );
        return Ok(provider.turn_away(seen, answer));
    };
    provider.shared().bodies.push(body.clone());
    respond(provider, ProviderRequest { head, body, key }, seen, mishap).await
}

/// The body, or `None` if it is too large.
async fn read<D: Protocol>(
    provider: &Provider<D>,
    body: Incoming,
    seen: SeenIndex,
) -> Result<Option<Bytes>, Hangup> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(_) => {
            provider.decide(seen, Outcome::Dropped);
            Err(Hangup::closed())
        }
    }
}

/// Starts the work unless the mishap prevents it, and answers unless the mishap prevents that.
async fn respond<D: Protocol>(
    provider: Arc<Provider<D>>,
    request: ProviderRequest,
    seen: SeenIndex,
    mishap: Option<Mishap>,
) -> Result<Answer, Hangup> {
    if let Some(instead) = mishap
        .as_ref()
        .and_then(|mishap| mishap.instead(D::refusal))
    {
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
    let work = tokio::spawn(provider.work(
        request,
        seen,
        Duration::from_millis(pause_ms),
        refused_suffix,
    ));
    if matches!(mishap, Some(Mishap::LateAccept { .. })) {
        return Err(Hangup::closed());
    }
    // Work that panicked is a mistake of the simulator. Its client sees a connection closed without
    // an answer.
    let answer = work.await.map_err(|_| Hangup::closed())?;
    if answer.status != D::ACCEPTED_STATUS {
        return Ok(answer);
    }
    match mishap {
        Some(Mishap::AcceptThenSilence) => std::future::pending().await,
        Some(Mishap::ResetAfterAccepting) => Err(Hangup::reset()),
        Some(Mishap::CutBody) => Err(Hangup::after(first_half_of(&answer))),
        Some(Mishap::Unreadable) => Ok(Answer::new(D::ACCEPTED_STATUS, "<h1>Thank you!</h1>")),
        _ => Ok(answer),
    }
}

/// The bytes of the answer, up to the middle of its body.
fn first_half_of(answer: &Answer) -> Bytes {
    let (status, length) = (answer.status, answer.body.len());
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &answer.body[..length / 2]]
        .concat()
        .into()
}
