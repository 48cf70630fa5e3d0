//! Answers over HTTP: JSON, and for errors a problem document (RFC 9457) that names the field.

use lambda_http::http::header::{CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::Value;
use tracing::error;

use crate::id::{Id, NotAnId};
use crate::message::{Invalid, Recipient};
use crate::record::RecordError;

/// What a caller is asked to wait before it tries again.
const RETRY_AFTER_S: u16 = 5;
/// As long as a breaker stays open, where nobody configured it otherwise.
const BACKLOG_RETRY_AFTER_S: u16 = 30;

/// Why a call was not answered as it was meant; each variant is one `type` of problem, for ever.
#[derive(Debug)]
pub enum Problem {
    /// A field can't be taken.
    Invalid(Invalid),
    /// The proof of who calls, in this header, is missing or wrong.
    Unauthorised { header: &'static str, detail: &'static str },
    /// The path is for operators.
    OperatorsOnly,
    /// No such path or method.
    NoRoute,
    /// The record does not allow it now; this is why.
    Conflict(&'static str),
    /// The Idempotency-Key stands for another request.
    KeyReused,
    /// The body is larger than this route takes.
    TooLarge { limit_bytes: usize },
    /// The body does not say that it is JSON.
    NotJson,
    /// The body does not say that it is in one of the forms of an invoice.
    NotAnInvoice,
    /// The record can't be reached. Nothing was promised.
    Unavailable,
    /// No provider can be reached, and what waits has waited for long. Nothing was promised.
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
    /// The HTTP code and the name of each problem.
    fn name(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Problem::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid-field", "A field is invalid"),
            Problem::Unauthorised { .. } => (StatusCode::UNAUTHORIZED, "unauthorised", "Unauthorised"),
            Problem::OperatorsOnly => (StatusCode::FORBIDDEN, "operators-only", "For operators only"),
            Problem::NoRoute => (StatusCode::NOT_FOUND, "no-route", "No such path"),
            Problem::Conflict(_) => (StatusCode::CONFLICT, "conflict", "The record does not allow it"),
            Problem::KeyReused => (StatusCode::CONFLICT, "key-reused", "The key stands for another request"),
            Problem::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Problem::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "The body is not JSON"),
            Problem::NotAnInvoice => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-an-invoice", "The body is not in the form of an invoice")
            }
            Problem::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The record can't be reached"),
            Problem::Backlog => (StatusCode::SERVICE_UNAVAILABLE, "backlog", "No provider can be reached"),
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
            Problem::KeyReused => {
                "This Idempotency-Key was used for a different message within the last 24 hours".to_owned()
            }
            Problem::TooLarge { limit_bytes } => format!("The body may have at most {limit_bytes} bytes"),
            Problem::NotJson => "The Content-Type must be application/json".to_owned(),
            Problem::NotAnInvoice => {
                "The Content-Type must be application/x-ndjson, application/json or text/csv".to_owned()
            }
            Problem::Unavailable => {
                "Nothing is promised; please try again, with the same Idempotency-Key if there is one".to_owned()
            }
            Problem::Backlog => "Too much waits to be sent already; please try again later".to_owned(),
        }
    }

    /// The problem document, for where it is a part of an answer.
    pub fn document(&self) -> Document<'_> {
        let (status, name, title) = self.name();
        let kind = format!("urn:sms-proxy:problem:{name}");
        Document { kind, title, status: status.as_u16(), field: self.field(), detail: self.detail() }
    }

    pub fn response(&self) -> Response<Body> {
        let (status, ..) = self.name();
        let mut response = json(status, &self.document());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = if matches!(self, Problem::Backlog) { BACKLOG_RETRY_AFTER_S } else { RETRY_AFTER_S };
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
        error!(%error, "the record failed");
        Problem::Unavailable
    }
}

/// An answer of one JSON document.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_string(document).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The JSON document that a call carries.
pub fn json_body(request: &Request, limit_bytes: usize) -> Result<Value, Problem> {
    let body: &[u8] = request.body();
    if body.len() > limit_bytes {
        return Err(Problem::TooLarge { limit_bytes });
    }
    if media_type(request.headers()) != "application/json" {
        return Err(Problem::NotJson);
    }
    serde_json::from_slice(body).map_err(|_| Invalid::new("body", "", "Must be valid JSON").into())
}

/// The id that a path names; nothing if it is one that this product can't have made.
pub fn id_in_path<Kind>(segment: &str) -> Result<Option<Id<Kind>>, Invalid> {
    match segment.parse() {
        Ok(id) => Ok(Some(id)),
        Err(NotAnId::Foreign) => Ok(None),
        Err(error @ NotAnId::Malformed) => Err(Invalid::new("id", segment, &error.to_string())),
    }
}

/// The number that a path names, with its plus, without it, or with it as it is escaped in an address.
pub fn recipient_in_path(segment: &str) -> Result<Recipient, Invalid> {
    let digits = segment.strip_prefix("%2B").or(segment.strip_prefix("%2b")).unwrap_or(segment);
    Recipient::parse(&Value::from(digits))
}

/// What the Content-Type says, without its parameters and in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
