//! What the protocols share: an HTTP client that never repeats a request by itself, and what
//! an answer's status code means.
//!
//! A protocol knows where its requests go and how its answers are written. Whether the provider
//! could have acted on a request is decided here, for all protocols, by the table in the
//! [crate's documentation](crate).

use std::time::Duration;

use domain::batch::Answer;
use domain::id::MessageId;
use domain::provider::Provider;
use domain::send_result::SendResult;
use jiff::SignedDuration;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect, retry};

use crate::error::ProviderError;

/// The time to open a connection, in milliseconds. With TLS, a provider
/// that is up needs a few hundred.
const CONNECT_MS: u64 = 2_000;
/// The length of an error code in the record. Anything longer would be a sentence.
const ERROR_CODE_CHARS_MAX: usize = 40;
/// The longest pause that a provider can ask for, in seconds. A longer one is a mistake, or an
/// outage that the next request will notice.
const PAUSE_MAX_S: u32 = 3_600;
/// The pause after a 429 without a Retry-After.
const PAUSE_DEFAULT: SignedDuration = SignedDuration::from_secs(5);

/// How a protocol writes its answers.
pub(crate) trait Contract {
    /// What the provider says about a batch that it accepted. `None` if the body cannot be read.
    fn acceptance(body: &[u8]) -> Option<Acceptance>;

    /// The provider's error, if the body is its error document.
    fn failure(status: StatusCode, body: &[u8]) -> Option<Failure>;
}

/// What the provider says about a batch that it accepted.
pub(crate) struct Acceptance {
    /// The provider's own name for the request.
    pub(crate) request_id: String,
    pub(crate) refused: Vec<MessageId>,
}

/// A provider's own error. Only its code is kept, because a sentence may quote a number or a text.
pub(crate) struct Failure {
    code: String,
    /// The error is about our account, so no message is to blame.
    of_account: bool,
}

impl Failure {
    /// An error with a name. Digits are dropped, because they may be a phone number.
    pub(crate) fn named(code: &str) -> Self {
        let allowed = |c: &char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.');
        Self {
            code: code
                .chars()
                .filter(allowed)
                .take(ERROR_CODE_CHARS_MAX)
                .collect(),
            of_account: false,
        }
    }

    /// An error with a number, which is too small to be a phone number.
    pub(crate) fn numbered(code: u16, of_account: bool) -> Self {
        Self {
            code: format!("code {code}"),
            of_account,
        }
    }
}

/// An HTTP client for one provider, with its address and credentials.
#[derive(Clone)]
pub(crate) struct Wire {
    client: Client,
    url: String,
    authorization: Option<HeaderValue>,
}

impl Wire {
    /// Makes a client for `path` under the provider's address, which sends
    /// `authorization` if there is any.
    ///
    /// Fails if that cannot be a header's value.
    pub(crate) fn new(
        provider: &Provider,
        path: &str,
        authorization: Option<String>,
    ) -> Result<Self, ProviderError> {
        let sensitive = |text: String| {
            let mut value = HeaderValue::try_from(text).map_err(|_| {
                ProviderError("the token holds characters that no header can".into())
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        // An error means that another client of this process has installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(Duration::from_millis(CONNECT_MS))
            .timeout(Duration::from_millis(provider.timeout_ms))
            // A request on a kept connection that the provider is just closing would end as "may
            // have been sent". A new connection for each batch is cheaper than that doubt.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| ProviderError(error.to_string()))?;
        let url = format!("{}{path}", provider.url.trim_end_matches('/'));
        Ok(Self {
            client,
            url,
            authorization: authorization.map(sensitive).transpose()?,
        })
    }

    /// Prepares the request that carries a batch. The protocol adds headers and body.
    pub(crate) fn post(&self) -> RequestBuilder {
        let request = self.client.post(&self.url);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }
}

/// Makes the request once, and classifies what came of it.
pub(crate) async fn send<C: Contract>(request: RequestBuilder) -> SendResult {
    match request.send().await {
        Ok(response) => classify::<C>(response).await,
        Err(error) => unanswered(&error),
    }
}

/// Classifies a request without an answer. A connect time-out is both a time-out and a connect
/// error, and proves that nothing was sent, so connect errors are tested first.
fn unanswered(error: &reqwest::Error) -> SendResult {
    let answer = |what: &str| Answer {
        http_status: None,
        error: Some(what.to_owned()),
    };
    if error.is_connect() || error.is_builder() {
        SendResult::NotSent {
            pause: None,
            answer: answer("no connection"),
        }
    } else if error.is_timeout() {
        SendResult::Unknown {
            answer: answer("timed out"),
        }
    } else {
        SendResult::Unknown {
            answer: answer("connection lost"),
        }
    }
}

/// Classifies an answer, by the table in the crate's documentation.
async fn classify<C: Contract>(response: Response) -> SendResult {
    let status = response.status();
    let pause = pause(&response);
    let body = response.bytes().await;
    let answer = |error: &str| Answer {
        http_status: Some(status.as_u16()),
        error: Some(error.to_owned()),
    };
    if status.is_success() {
        return match body.ok().and_then(|body| C::acceptance(&body)) {
            Some(Acceptance {
                request_id,
                refused,
            }) => SendResult::Confirmed {
                request_id,
                refused,
                answer: Answer {
                    http_status: Some(status.as_u16()),
                    error: None,
                },
            },
            None => SendResult::Unknown {
                answer: answer("answer unreadable"),
            },
        };
    }
    let failure = body.ok().and_then(|body| C::failure(status, &body));
    let answer = answer(
        failure
            .as_ref()
            .map_or("no error document", |failure| &failure.code),
    );
    match status {
        StatusCode::TOO_MANY_REQUESTS => SendResult::NotSent {
            pause: Some(pause.unwrap_or(PAUSE_DEFAULT)),
            answer,
        },
        StatusCode::SERVICE_UNAVAILABLE if pause.is_some() => SendResult::NotSent { pause, answer },
        _ if status.is_client_error()
            && failure.as_ref().is_some_and(|failure| failure.of_account) =>
        {
            SendResult::Misconfigured { answer }
        }
        // Without the provider's error document the answer may come from something in front
        // of it, or from a wrong address.
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY
            if failure.is_some() =>
        {
            SendResult::Refused { answer }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => SendResult::Unknown { answer },
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => SendResult::Unknown { answer },
        _ if status.is_redirection() || status.is_client_error() => {
            SendResult::Misconfigured { answer }
        }
        _ if status.is_server_error() && failure.is_some() => SendResult::NotSent {
            pause: None,
            answer,
        },
        _ => SendResult::Unknown { answer },
    }
}

/// The pause that the answer asks for. A date instead of seconds is ignored.
fn pause(response: &Response) -> Option<SignedDuration> {
    let seconds: u32 = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(SignedDuration::from_secs(seconds.min(PAUSE_MAX_S).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::Callback;
    use crate::fastsmsing::FastSmsing;
    use crate::messagebird::MessageBird;

    const FASTSMSING_ERROR: &str =
        r#"{"error": {"code": "busy 31633450007", "message": "not +31633450007"}}"#;
    const MESSAGEBIRD_ERROR: &str =
        r#"{"errors": [{"code": 9, "description": "not 31633450007", "parameter": "body"}]}"#;
    const NO_BALANCE: &str = r#"{"errors": [{"code": 25, "description": "", "parameter": null}]}"#;

    /// How an answer is classified, and the error that the record keeps.
    async fn kind<C: Contract>(
        status: u16,
        retry_after: Option<&str>,
        body: &'static str,
    ) -> (&'static str, String) {
        let response = http::Response::builder().status(status);
        let response = retry_after.into_iter().fold(response, |response, pause| {
            response.header(RETRY_AFTER, pause)
        });
        let sent = classify::<C>(response.body(body).unwrap().into()).await;
        let kind = match &sent {
            SendResult::Confirmed { .. } => "confirmed",
            SendResult::NotSent { pause: None, .. } => "not sent",
            SendResult::NotSent { pause: Some(_), .. } => "not yet",
            SendResult::Refused { .. } => "refused",
            SendResult::Misconfigured { .. } => "misconfigured",
            SendResult::Unknown { .. } => "unknown",
        };
        assert_eq!(sent.answer().http_status, Some(status));
        (kind, sent.answer().error.clone().unwrap_or_default())
    }

    async fn kinds(status: u16, retry_after: Option<&str>) -> [&'static str; 3] {
        [
            kind::<FastSmsing>(status, retry_after, FASTSMSING_ERROR)
                .await
                .0,
            kind::<MessageBird>(status, retry_after, MESSAGEBIRD_ERROR)
                .await
                .0,
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
        // Without the provider's own document the answer may come from something in front of it.
        assert_eq!(
            kind::<FastSmsing>(500, None, "<h1>500</h1>").await.0,
            "unknown"
        );
        assert_eq!(
            kind::<MessageBird>(500, None, "<h1>500</h1>").await.0,
            "unknown"
        );
        assert_eq!(kind::<Callback>(501, None, "").await.0, "unknown");
        assert_eq!(
            kind::<FastSmsing>(400, None, "<h1>400</h1>").await.0,
            "misconfigured"
        );
        assert_eq!(
            kind::<MessageBird>(422, None, "<h1>422</h1>").await.0,
            "misconfigured"
        );
    }

    #[tokio::test]
    async fn only_a_success_that_can_be_read_is_one() {
        let accepted = r#"{"request_id": "r", "accepted": 1, "refused": []}"#;
        assert_eq!(kind::<FastSmsing>(202, None, accepted).await.0, "confirmed");
        assert_eq!(
            kind::<MessageBird>(201, None, r#"{"id": "r", "recipients": {"items": []}}"#)
                .await
                .0,
            "confirmed"
        );
        assert_eq!(
            kind::<Callback>(200, None, r#"{"message_id": "r"}"#)
                .await
                .0,
            "confirmed"
        );
        for body in ["", "{}", "<h1>Thank you!</h1>"] {
            assert_eq!(kind::<FastSmsing>(202, None, body).await.0, "unknown");
            assert_eq!(kind::<MessageBird>(201, None, body).await.0, "unknown");
            assert_eq!(kind::<Callback>(200, None, body).await.0, "unknown");
        }
    }

    #[tokio::test]
    async fn an_account_error_blames_no_message_and_only_error_codes_are_kept() {
        assert_eq!(
            kind::<MessageBird>(422, None, NO_BALANCE).await,
            ("misconfigured", "code 25".to_owned())
        );
        assert_eq!(
            kind::<MessageBird>(422, None, MESSAGEBIRD_ERROR).await,
            ("refused", "code 9".to_owned())
        );
        assert_eq!(
            kind::<FastSmsing>(400, None, FASTSMSING_ERROR).await,
            ("refused", "busy".to_owned())
        );
        assert_eq!(
            kind::<Callback>(400, None, "not 31633450007").await,
            ("refused", "error".to_owned())
        );
    }
}
