//! FastSMSing's contract: what a request must look like, and the documents of the answers.
//!
//! It is stricter than a real provider would be, so that every mistake of the product is refused
//! here and not on the day of the first deployment. A refusal names the field and never repeats its
//! value.

use std::collections::HashSet;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::json;

use crate::simulator::Answer;

pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const ID_CHARS_MAX: usize = 100;
const PHONE_NUMBER_DIGITS_MAX: usize = 15;
const ORIGINATOR_DIGITS_MAX: usize = 15;
const ORIGINATOR_CHARS_MAX: usize = 11;
/// Ten segments of 153 GSM-7 characters.
const MESSAGE_CHARS_MAX: usize = 1530;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    pub(super) batch_id: String,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) message_id: String,
    pub(super) phone_number: String,
    originator: String,
    message: String,
}

/// Reads the batch of a request. An error is the answer that refuses it.
pub(super) fn read_batch(
    head: &Parts,
    body: &[u8],
    batch_size_max: usize,
) -> Result<Batch, Answer> {
    let json = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !json {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            "content_type",
            "the body must be application/json",
        ));
    }
    let batch: Batch = serde_json::from_slice(body)
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, "malformed", &shape_of(&error)))?;
    if batch.messages.len() > batch_size_max {
        let limit = format!("at most {batch_size_max} messages");
        return Err(refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_messages",
            &limit,
        ));
    }
    match mistake_in(&batch) {
        Some(mistake) => Err(refusal(StatusCode::BAD_REQUEST, "invalid", &mistake)),
        None => Ok(batch),
    }
}

pub(super) fn authorize(head: &Parts, token: &str) -> Result<(), Answer> {
    let bearer = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match bearer {
        Some(bearer) if bearer == token => Ok(()),
        _ => Err(refusal(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the token is wrong",
        )),
    }
}

pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"code": code, "message": message}}),
    )
}

/// Says where the JSON is not a batch. serde's own message is not used, because it may quote a
/// phone number or a text.
fn shape_of(error: &serde_json::Error) -> String {
    format!(
        "not a batch at line {}, column {}",
        error.line(),
        error.column()
    )
}

/// The first field that breaks the contract, if there is one.
fn mistake_in(batch: &Batch) -> Option<String> {
    if !is_id(&batch.batch_id) {
        return Some("batch_id".into());
    }
    if batch.messages.is_empty() {
        return Some("messages".into());
    }
    let mut ids = HashSet::new();
    batch
        .messages
        .iter()
        .enumerate()
        .find_map(|(index, message)| {
            let field = if !is_id(&message.message_id) || !ids.insert(&message.message_id) {
                "message_id"
            } else if !is_phone_number(&message.phone_number) {
                "phone_number"
            } else if !is_originator(&message.originator) {
                "originator"
            } else if message.message.is_empty()
                || message.message.chars().count() > MESSAGE_CHARS_MAX
            {
                "message"
            } else {
                return None;
            };
            Some(format!("messages[{index}].{field}"))
        })
}

fn is_id(id: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether this is a number in E.164: a plus, a country code that does not begin with 0, at most 15
/// digits.
fn is_phone_number(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        all_digits(digits) && !digits.starts_with('0') && digits.len() <= PHONE_NUMBER_DIGITS_MAX
    })
}

fn is_originator(originator: &str) -> bool {
    let named = originator.len() <= ORIGINATOR_CHARS_MAX
        && originator.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let numbered = originator.len() <= ORIGINATOR_DIGITS_MAX && all_digits(originator);
    !originator.is_empty() && (named || numbered)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const BATCH_SIZE_MAX: usize = 2;

    fn message() -> Value {
        json!({
            "message_id": "m",
            "phone_number": "+31633450007",
            "originator": "MB",
            "message": "text",
        })
    }

    fn read(body: &Value) -> Result<Batch, StatusCode> {
        let (mut head, ()) = hyper::Request::new(()).into_parts();
        head.headers
            .insert(CONTENT_TYPE, "application/json".parse().unwrap());
        read_batch(&head, body.to_string().as_bytes(), BATCH_SIZE_MAX)
            .map_err(|answer| answer.status)
    }

    #[test]
    fn a_batch_of_the_contract_is_read() {
        let batch = read(&json!({"batch_id": "b", "messages": [message()]})).unwrap();
        assert_eq!(
            (
                batch.batch_id.as_str(),
                batch.messages[0].phone_number.as_str()
            ),
            ("b", "+31633450007")
        );
    }

    #[test]
    fn each_wrong_field_refuses_the_batch() {
        for (field, wrong) in [
            ("message_id", json!("")),
            ("phone_number", json!("31633450007")),
            ("phone_number", json!("+0633450007")),
            ("phone_number", json!(31633450007_u64)),
            ("phone_number", json!("+1234567890123456")),
            ("originator", json!("")),
            ("originator", json!("Twelve chars")),
            ("originator", json!("1234567890123456")),
            ("message", json!("")),
            ("message", json!("a".repeat(MESSAGE_CHARS_MAX + 1))),
            ("surprise", json!(true)),
        ] {
            let mut message = message();
            message[field] = wrong;
            let refused = read(&json!({"batch_id": "b", "messages": [message]})).unwrap_err();
            assert_eq!(refused, StatusCode::BAD_REQUEST, "{field}");
        }
    }

    #[test]
    fn an_empty_a_repeating_and_an_overfull_batch_are_refused() {
        let batch = |messages: Vec<Value>| {
            read(&json!({"batch_id": "b", "messages": messages})).unwrap_err()
        };
        assert_eq!(batch(vec![]), StatusCode::BAD_REQUEST);
        assert_eq!(batch(vec![message(), message()]), StatusCode::BAD_REQUEST);
        assert_eq!(
            batch(vec![message(); BATCH_SIZE_MAX + 1]),
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }

    #[test]
    fn a_refusal_repeats_nothing_of_the_request() {
        let error =
            serde_json::from_str::<Batch>(r#"{"batch_id": "secret", "secret": 1}"#).unwrap_err();
        assert!(!shape_of(&error).contains("secret"));
    }
}
