//! The header Idempotency-Key: what it may hold, and what stands for a request under it.

use domain::digest::sha256_hex;
use domain::invalid::Invalid;
use domain::message_request::MessageRequest;
use lambda_http::http::HeaderMap;

const HEADER: &str = "Idempotency-Key";
/// The length of a key, in characters. A UUID has 36.
const CHARS_MAX: usize = 255;

/// Reads the key of a call, if it has one.
pub(crate) fn of_call(headers: &HeaderMap) -> Result<Option<&str>, Invalid> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=CHARS_MAX).contains(&key.len()) => Ok(Some(key)),
        _ => {
            let rule = format!("Must be 1 to {CHARS_MAX} visible ASCII characters");
            Err(Invalid::new(HEADER, "", &rule))
        }
    }
}

/// Makes the key of a message in a bulk from the bulk's key and the message's place. No header can
/// hold a line break, so it is never the key of a single message.
pub(crate) fn of_bulk_message(key: &str, place: usize) -> String {
    format!("{key}\n{place}")
}

/// The hash that a key stands for: the same request has the same hash.
pub(crate) fn hash(request: &MessageRequest) -> String {
    sha256_hex(&serde_json::to_vec(request).unwrap_or_default())
}
