//! Answers over HTTP. Each body is one JSON document.

use std::collections::BTreeMap;

use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

/// An answer with this JSON document.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_string(document).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer about something that is not in the record: its name as the caller wrote it, e.g.
/// `("id", "0192…")`, and NOT_FOUND in the field that would hold its status or state.
pub fn not_found(name: (&str, &str), status_field: &str) -> Response<Body> {
    let document = BTreeMap::from([name, (status_field, "NOT_FOUND")]);
    json(StatusCode::NOT_FOUND, &document)
}
