//! What a call carries: its JSON body, its media type, and the id or number in its path.

use domain::id::{Id, NotAnId};
use domain::invalid::Invalid;
use domain::recipient::Recipient;
use lambda_http::Request;
use lambda_http::http::HeaderMap;
use lambda_http::http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::problem::Problem;

/// Reads the JSON document in the body of a call.
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

/// Reads the id in a path. `None` if it is a UUID that this product cannot have made.
pub fn id_in_path<Kind>(segment: &str) -> Result<Option<Id<Kind>>, Invalid> {
    match segment.parse() {
        Ok(id) => Ok(Some(id)),
        Err(NotAnId::Foreign) => Ok(None),
        Err(error @ NotAnId::Malformed) => Err(Invalid::new("id", segment, &error.to_string())),
    }
}

/// Reads the phone number in a path, with a plus, an escaped plus or none.
pub fn recipient_in_path(segment: &str) -> Result<Recipient, Invalid> {
    let digits = segment
        .strip_prefix("%2B")
        .or(segment.strip_prefix("%2b"))
        .unwrap_or(segment);
    Recipient::parse(&Value::from(digits))
}

/// Reads the media type of the body, in lower case. Empty if there is none.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}
