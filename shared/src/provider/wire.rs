//! What the protocols share: a client that never repeats a request by itself, and what an answer's code means.
//!
//! A protocol says where its requests go and how its answers are written; whether the provider could have acted
//! on a request is decided here, for all of them, by the table at the top of [`super`].

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect, retry};

use super::{Provider, Sent, Unusable};
use crate::batch::Answer;
use crate::crash;
use crate::id::MessageId;

const CONNECT_MS: u64 = 2_000;
/// Of a provider's error code, at most this much is kept.
const ERROR_CODE_CHARS_MAX: usize = 40;
/// A pause longer than this is a mistake, or an outage that the next try will notice.
const PAUSE_MAX_S: u32 = 3_600;
/// Of a provider that is asked too often and does not say how long to wait.
const PAUSE_DEFAULT: SignedDuration = SignedDuration::from_secs(5);

/// How a protocol writes its answers.
pub(super) trait Contract {
    /// What the provider says of a batch that it took, if the body says it.
    fn taken(body: &[u8]) -> Option<Taken>;

    /// Its error document, if the body is one.
    fn failure(status: StatusCode, body: &[u8]) -> Option<Failure>;
}

/// A batch that was taken.
pub(super) struct Taken {
    /// The provider's own name for the request.
    pub(super) request_id: String,
    pub(super) refused: Vec<MessageId>,
}

/// An error that a provider tells in its own words, of which only the code is kept: a sentence may quote a
/// number or a text.
pub(super) struct Failure {
    code: String,
    /// It is about our account, so that no message is to blame.
    of_account: bool,
}

impl Failure {
    /// An error that has a name.
    pub(super) fn named(code: &str) -> Self {
        let allowed = |c: &char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.');
        Self { code: code.chars().filter(allowed).take(ERROR_CODE_CHARS_MAX).collect(), of_account: false }
    }

    /// An error that has a number: too small a one to be anybody's.
    pub(super) fn numbered(code: u16, of_account: bool) -> Self {
        Self { code: format!("code {code}"), of_account }
    }
}

/// The way to one provider.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client,
    url: String,
    authorization: Option<HeaderValue>,
}

impl Wire {
    /// A way to `path` under the provider's address, by which we prove ourselves with `authorization`, if any.
    ///
    /// Fails where that can't stand in a header.
    pub(super) fn new(provider: &Provider, path: &str, authorization: Option<String>) -> Result<Self, Unusable> {
        let sensitive = |text: String| {
            let mut value = HeaderValue::try_from(text)
                .map_err(|_| Unusable("the token holds characters that no header can".into()))?;
            value.set_sensitive(true);
            Ok(value)
        };
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
        let url = format!("{}{path}", provider.url.trim_end_matches('/'));
        Ok(Self { client, url, authorization: authorization.map(sensitive).transpose()? })
    }

    /// The one request that carries a batch, to be given its headers and its body.
    pub(super) fn post(&self) -> RequestBuilder {
        let request = self.client.post(&self.url);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }
}

/// Makes the request, once, and says what it came to.
pub(super) async fn ask<C: Contract>(request: RequestBuilder) -> Sent {
    match crash::around("send a batch", request.send()).await {
        Ok(response) => classify::<C>(response).await,
        Err(error) => unanswered(&error),
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

async fn classify<C: Contract>(response: Response) -> Sent {
    let status = response.status();
    let pause = pause(&response);
    let body = response.bytes().await;
    let answer = |error: &str| Answer { http_status: Some(status.as_u16()), error: Some(error.to_owned()) };
    if status.is_success() {
        return match body.ok().and_then(|body| C::taken(&body)) {
            Some(Taken { request_id, refused }) => Sent::Confirmed {
                request_id,
                refused,
                answer: Answer { http_status: Some(status.as_u16()), error: None },
            },
            None => Sent::Unknown { answer: answer("answer unreadable") },
        };
    }
    let failure = body.ok().and_then(|body| C::failure(status, &body));
    let answer = answer(failure.as_ref().map_or("no error document", |failure| &failure.code));
    match status {
        StatusCode::TOO_MANY_REQUESTS => Sent::NotSent { pause: Some(pause.unwrap_or(PAUSE_DEFAULT)), answer },
        StatusCode::SERVICE_UNAVAILABLE if pause.is_some() => Sent::NotSent { pause, answer },
        _ if status.is_client_error() && failure.as_ref().is_some_and(|failure| failure.of_account) => {
            Sent::Misconfigured { answer }
        }
        // Without the provider's error document it may be anybody's: something in front of it, a wrong address.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
            if failure.is_some() =>
        {
            Sent::Refused { answer }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => Sent::Unknown { answer },
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Sent::Unknown { answer },
        _ if status.is_redirection() || status.is_client_error() => Sent::Misconfigured { answer },
        _ if status.is_server_error() && failure.is_some() => Sent::NotSent { pause: None, answer },
        _ => Sent::Unknown { answer },
    }
}

fn pause(response: &Response) -> Option<SignedDuration> {
    let seconds: u32 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(SignedDuration::from_secs(seconds.min(PAUSE_MAX_S).into()))
}

#[cfg(test)]
mod tests {
    use lambda_http::http;

    use super::super::callback::Callback;
    use super::super::fastsmsing::FastSmsing;
    use super::super::messagebird::MessageBird;
    use super::*;

    const FASTSMSING_ERROR: &str = r#"{"error": {"code": "busy 31633450007", "message": "not +31633450007"}}"#;
    const MESSAGEBIRD_ERROR: &str =
        r#"{"errors": [{"code": 9, "description": "not 31633450007", "parameter": "body"}]}"#;
    const NO_BALANCE: &str = r#"{"errors": [{"code": 25, "description": "", "parameter": null}]}"#;

    /// What an answer comes to: its kind, and the error that the record keeps.
    async fn kind<C: Contract>(status: u16, retry_after: Option<&str>, body: &'static str) -> (&'static str, String) {
        let response = http::Response::builder().status(status);
        let response = retry_after.into_iter().fold(response, |response, pause| response.header(RETRY_AFTER, pause));
        let sent = classify::<C>(response.body(body).unwrap().into()).await;
        let kind = match &sent {
            Sent::Confirmed { .. } => "confirmed",
            Sent::NotSent { pause: None, .. } => "not sent",
            Sent::NotSent { pause: Some(_), .. } => "not yet",
            Sent::Refused { .. } => "refused",
            Sent::Misconfigured { .. } => "misconfigured",
            Sent::Unknown { .. } => "unknown",
        };
        assert_eq!(sent.answer().http_status, Some(status));
        (kind, sent.answer().error.clone().unwrap_or_default())
    }

    async fn kinds(status: u16, retry_after: Option<&str>) -> [&'static str; 3] {
        [
            kind::<FastSmsing>(status, retry_after, FASTSMSING_ERROR).await.0,
            kind::<MessageBird>(status, retry_after, MESSAGEBIRD_ERROR).await.0,
            kind::<Callback>(status, retry_after, "").await.0,
        ]
    }

    #[tokio::test]
    async fn an_answer_proves_the_same_in_every_protocol() {
        for (status, expected) in [
            (429, "not yet"),
            (400, "refused"),
            (413, "refused"),
            (422, "refused"),
            (302, "misconfigured"),
            (401, "misconfigured"),
            (402, "misconfigured"),
            (404, "misconfigured"),
            (408, "unknown"),
            (409, "unknown"),
            (500, "not sent"),
            (502, "unknown"),
            (504, "unknown"),
        ] {
            assert_eq!(kinds(status, None).await, [expected; 3], "{status}");
        }
        assert_eq!(kinds(503, Some("7")).await, ["not yet"; 3]);
        // Without its own document it may be anybody's answer.
        assert_eq!(kind::<FastSmsing>(500, None, "<h1>500</h1>").await.0, "unknown");
        assert_eq!(kind::<MessageBird>(500, None, "<h1>500</h1>").await.0, "unknown");
        assert_eq!(kind::<Callback>(501, None, "").await.0, "unknown");
        assert_eq!(kind::<FastSmsing>(400, None, "<h1>400</h1>").await.0, "misconfigured");
        assert_eq!(kind::<MessageBird>(422, None, "<h1>422</h1>").await.0, "misconfigured");
    }

    #[tokio::test]
    async fn only_a_success_that_can_be_read_is_one() {
        let accepted = r#"{"request_id": "r", "accepted": 1, "refused": []}"#;
        assert_eq!(kind::<FastSmsing>(202, None, accepted).await.0, "confirmed");
        assert_eq!(kind::<MessageBird>(201, None, r#"{"id": "r", "recipients": {"items": []}}"#).await.0, "confirmed");
        assert_eq!(kind::<Callback>(200, None, r#"{"message_id": "r"}"#).await.0, "confirmed");
        for body in ["", "{}", "<h1>Thank you!</h1>"] {
            assert_eq!(kind::<FastSmsing>(202, None, body).await.0, "unknown");
            assert_eq!(kind::<MessageBird>(201, None, body).await.0, "unknown");
            assert_eq!(kind::<Callback>(200, None, body).await.0, "unknown");
        }
    }

    #[tokio::test]
    async fn an_error_about_our_account_blames_no_message_and_no_error_s_words_are_kept() {
        assert_eq!(kind::<MessageBird>(422, None, NO_BALANCE).await, ("misconfigured", "code 25".to_owned()));
        assert_eq!(kind::<MessageBird>(422, None, MESSAGEBIRD_ERROR).await, ("refused", "code 9".to_owned()));
        assert_eq!(kind::<FastSmsing>(400, None, FASTSMSING_ERROR).await, ("refused", "busy".to_owned()));
        assert_eq!(kind::<Callback>(400, None, "not 31633450007").await, ("refused", "error".to_owned()));
    }
}
