//! Problem documents (RFC 9457): what is wrong with a call, in which field, and the HTTP code.
//!
//! Every function that answers callers returns a [`Problem`] as its error, and one
//! exhaustive match chooses its code.

use domain::invalid::Invalid;
use lambda_http::http::header::{CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use record::RecordError;
use serde::Serialize;
use tracing::error;

use crate::answer::json;

/// The Retry-After of a 503 about the record, in seconds: the SDK's own retries have failed by
/// then, so a call right away would fail too.
const RETRY_AFTER_S: u16 = 5;
/// The Retry-After of a 503 about the backlog, in seconds: a breaker's default time.
const BACKLOG_RETRY_AFTER_S: u16 = 30;

/// Why a call failed. Each variant is one `type` of problem document, which
/// callers rely on, so it never changes.
#[derive(Debug)]
pub enum Problem {
    /// A field is invalid.
    Invalid(Invalid),
    /// The credential in this header or parameter is missing or wrong.
    Unauthorised {
        header: &'static str,
        detail: &'static str,
    },
    /// The path is for operators.
    OperatorsOnly,
    /// There is no such path or method.
    NoRoute,
    /// The record does not allow the call now, for this reason.
    Conflict(&'static str),
    /// The Idempotency-Key stands for another request.
    KeyReused,
    /// The body is larger than this path accepts.
    TooLarge { limit_bytes: usize },
    /// The Content-Type is not that of JSON.
    NotJson,
    /// The Content-Type is not one that an invoice can have.
    NotAnInvoice,
    /// The record cannot be reached. Nothing is promised.
    Unavailable,
    /// No provider can be reached, and messages have waited for too long. Nothing is promised.
    Backlog,
}

/// A problem as callers read it.
#[derive(Serialize)]
pub struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    field: &'a str,
    detail: String,
}

impl Problem {
    /// The HTTP code, the name and the title of the problem.
    fn name(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Problem::Invalid(_) => (
                StatusCode::BAD_REQUEST,
                "invalid-field",
                "A field is invalid",
            ),
            Problem::Unauthorised { .. } => {
                (StatusCode::UNAUTHORIZED, "unauthorised", "Unauthorised")
            }
            Problem::OperatorsOnly => (
                StatusCode::FORBIDDEN,
                "operators-only",
                "For operators only",
            ),
            Problem::NoRoute => (StatusCode::NOT_FOUND, "no-route", "No such path"),
            Problem::Conflict(_) => (
                StatusCode::CONFLICT,
                "conflict",
                "The record does not allow it",
            ),
            Problem::KeyReused => (
                StatusCode::CONFLICT,
                "key-reused",
                "The key stands for another request",
            ),
            Problem::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too large",
            ),
            Problem::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "The body is not JSON",
            ),
            Problem::NotAnInvoice => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-an-invoice",
                "The body is not in the form of an invoice",
            ),
            Problem::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The record can't be reached",
            ),
            Problem::Backlog => (
                StatusCode::SERVICE_UNAVAILABLE,
                "backlog",
                "No provider can be reached",
            ),
        }
    }

    fn field(&self) -> &str {
        match self {
            Problem::Invalid(invalid) => &invalid.field,
            Problem::Unauthorised { header, .. } => header,
            Problem::OperatorsOnly => "X-API-Key",
            Problem::NoRoute | Problem::Conflict(_) => "path",
            Problem::KeyReused => "Idempotency-Key",
            Problem::TooLarge { .. } => "body",
            Problem::NotJson | Problem::NotAnInvoice => "Content-Type",
            Problem::Unavailable | Problem::Backlog => "",
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::Invalid(invalid) => invalid.to_string(),
            Problem::Unauthorised { detail, .. } => (*detail).to_owned(),
            Problem::OperatorsOnly => "This key is not an operator's".to_owned(),
            Problem::Conflict(detail) => (*detail).to_owned(),
            Problem::NoRoute => "There is nothing at this path".to_owned(),
            Problem::KeyReused => "This Idempotency-Key was used for a different message \
                within the last 24 hours"
                .to_owned(),
            Problem::TooLarge { limit_bytes } => {
                format!("The body may have at most {limit_bytes} bytes")
            }
            Problem::NotJson => "The Content-Type must be application/json".to_owned(),
            Problem::NotAnInvoice => "The Content-Type must be application/x-ndjson, \
                application/json or text/csv"
                .to_owned(),
            Problem::Unavailable => "Nothing is promised; please try again, \
                with the same Idempotency-Key if there is one"
                .to_owned(),
            Problem::Backlog => {
                "Too much waits to be sent already; please try again later".to_owned()
            }
        }
    }

    /// The problem document, for an answer that contains it among others.
    pub fn document(&self) -> Document<'_> {
        let (status, name, title) = self.name();
        let kind = format!("urn:sms-proxy:problem:{name}");
        Document {
            kind,
            title,
            status: status.as_u16(),
            field: self.field(),
            detail: self.detail(),
        }
    }

    /// The problem as an answer of its own.
    pub fn response(&self) -> Response<Body> {
        let (status, ..) = self.name();
        let mut response = json(status, &self.document());
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = if matches!(self, Problem::Backlog) {
                BACKLOG_RETRY_AFTER_S
            } else {
                RETRY_AFTER_S
            };
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Problem::Invalid(invalid)
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        error!(%error, "the record failed; the call is answered with 503");
        Problem::Unavailable
    }
}
