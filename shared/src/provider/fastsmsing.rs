//! FastSMSing's wire: one POST carries a whole batch, and one POST is what it bills.
//!
//! # The contract
//!
//! ```text
//! POST {url}/batches
//! Authorization: Bearer <token>
//! Idempotency-Key: <batch id>            a repeat within the provider's key lifetime is answered, not billed, again
//! Content-Type: application/json
//!
//! {"batch_id": "<our id>", "messages": [
//!     {"message_id": "<our id>", "phone_number": "+31633450007", "originator": "MB", "message": "text"}, …]}
//! ```
//!
//! | answer | meaning |
//! |---|---|
//! | 202 `{"request_id": "…", "accepted": n, "refused": [{"message_id": "…", "reason": "…"}]}` | taken and billed once; the refused ones are not sent |
//! | 202 for a repeated key | the first answer again, with the header `Idempotent-Replayed: true`; nothing is billed |
//! | 400, 413, 422 `{"error": {"code": "…", "message": "…"}}` | the batch is refused as a whole and not billed |
//! | 401, 403, 404 | the token or the address is wrong |
//! | 409 | a request with this key is still being worked on |
//! | 429, 503 with `Retry-After: <seconds>` | too fast or too busy; nothing was taken |
//! | 500 `{"error": {…}}` | an error answer: nothing was taken |
//!
//! A message's fate comes later, in batches, to our webhook `POST /messages/delivery_status`, signed as
//! Standard Webhooks asks (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>` over
//! `<id>.<timestamp>.<body>`), as a map from message id to one of three statuses:
//!
//! ```text
//! {"<message id>": "CONFIRMED", "<message id>": "DELIVERED", "<message id>": "FAILED"}
//! ```
//!
//! `GET {url}/invoice?from=<RFC 3339>&to=<RFC 3339>` answers one JSON line per billed request:
//! `{"request_id": "…", "batch_id": "…", "at": "<RFC 3339>", "messages": n, "requests": 1}`.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect, retry};
use serde::{Deserialize, Serialize};

use super::{Provider, Sent, Unusable};
use crate::batch::Answer;
use crate::crash;
use crate::id::{BatchId, MessageId};
use crate::message::Message;

const CONNECT_MS: u64 = 2_000;
/// Of a provider's error code, at most this much is kept.
const ERROR_CODE_CHARS_MAX: usize = 40;
/// A pause longer than this is a mistake, or an outage that the next try will notice.
const PAUSE_MAX_S: u32 = 3_600;
/// Of a provider that is asked too often and does not say how long to wait.
const PAUSE_DEFAULT: SignedDuration = SignedDuration::from_secs(5);

/// The client of FastSMSing.
#[derive(Clone)]
pub struct FastSmsing {
    client: Client,
    url: String,
    authorization: HeaderValue,
}

#[derive(Serialize)]
struct Request<'a> {
    batch_id: BatchId,
    messages: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    message_id: MessageId,
    phone_number: &'a str,
    originator: &'a str,
    message: &'a str,
}

#[derive(Deserialize)]
struct Taken {
    request_id: String,
    #[serde(default)]
    refused: Vec<RefusedMessage>,
}

#[derive(Deserialize)]
struct RefusedMessage {
    message_id: MessageId,
}

#[derive(Deserialize)]
struct Failure {
    error: FailureCode,
}

#[derive(Deserialize)]
struct FailureCode {
    code: String,
}

impl FastSmsing {
    /// A client that never repeats a request by itself.
    ///
    /// Fails where the token can't stand in a header.
    pub fn new(provider: &Provider, token: &str) -> Result<Self, Unusable> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Unusable("the token holds characters that no header can".into()))?;
        authorization.set_sensitive(true);
        // Another part of the process may have installed it already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(Duration::from_millis(CONNECT_MS))
            .timeout(Duration::from_millis(provider.timeout_ms))
            // A request on a kept connection that the provider has just closed would end as
            // "may have been sent"; a new connection a batch is cheaper than that doubt.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| Unusable(error.to_string()))?;
        Ok(Self { client, url: format!("{}/batches", provider.url.trim_end_matches('/')), authorization })
    }

    /// Makes one request that carries `messages`, in their order, as batch `id`.
    ///
    /// The same batch always makes the same bytes, so that its key can be used again.
    pub async fn send(&self, id: BatchId, messages: &[Message]) -> Sent {
        let body = Request { batch_id: id, messages: messages.iter().map(Entry::of).collect() };
        let request = self
            .client
            .post(&self.url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header("Idempotency-Key", id.to_string())
            .json(&body);
        match crash::around("send a batch", request.send()).await {
            Ok(response) => classify(response).await,
            Err(error) => unanswered(&error),
        }
    }
}

impl<'a> Entry<'a> {
    fn of(message: &'a Message) -> Self {
        Self {
            message_id: message.id,
            phone_number: message.recipient.as_str(),
            originator: message.originator.as_str(),
            message: message.body.as_str(),
        }
    }
}

/// A request without an answer. A connect time-out is both a time-out and a connect error, and proves
/// that nothing was sent, so that question comes first.
fn unanswered(error: &reqwest::Error) -> Sent {
    let answer = |what: &str| Answer { http_status: None, error: Some(what.to_owned()) };
    if error.is_connect() || error.is_builder() {
        Sent::NotSent { pause: None, answer: answer("no connection") }
    } else if error.is_timeout() {
        Sent::Unknown { answer: answer("timed out") }
    } else {
        Sent::Unknown { answer: answer("connection lost") }
    }
}

async fn classify(response: Response) -> Sent {
    let status = response.status();
    let pause = pause(&response);
    let body = response.bytes().await;
    let answer = |error: &str| Answer { http_status: Some(status.as_u16()), error: Some(error.to_owned()) };
    if status.is_success() {
        let taken = body.ok().and_then(|body| serde_json::from_slice::<Taken>(&body).ok());
        return match taken {
            Some(Taken { request_id, refused }) => Sent::Confirmed {
                request_id,
                refused: refused.into_iter().map(|refused| refused.message_id).collect(),
                answer: Answer { http_status: Some(status.as_u16()), error: None },
            },
            None => Sent::Unknown { answer: answer("answer unreadable") },
        };
    }
    let code = body.ok().and_then(|body| error_code(&body));
    let answer = answer(code.as_deref().unwrap_or("no error document"));
    match status {
        StatusCode::TOO_MANY_REQUESTS => Sent::NotSent { pause: Some(pause.unwrap_or(PAUSE_DEFAULT)), answer },
        StatusCode::SERVICE_UNAVAILABLE if pause.is_some() => Sent::NotSent { pause, answer },
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Sent::Refused { answer }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => Sent::Unknown { answer },
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Sent::Unknown { answer },
        _ if status.is_redirection() || status.is_client_error() => Sent::Misconfigured { answer },
        _ if status.is_server_error() && code.is_some() => Sent::NotSent { pause: None, answer },
        _ => Sent::Unknown { answer },
    }
}

fn pause(response: &Response) -> Option<SignedDuration> {
    let seconds: u32 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(SignedDuration::from_secs(seconds.min(PAUSE_MAX_S).into()))
}

/// The provider's error code, and never its sentence: that may quote a number or a text.
fn error_code(body: &[u8]) -> Option<String> {
    let Failure { error } = serde_json::from_slice(body).ok()?;
    let allowed = |c: &char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.');
    Some(error.code.chars().filter(allowed).take(ERROR_CODE_CHARS_MAX).collect())
}
