//! What a caller asks to be sent, parsed once at the door.
//!
//! Below this file no `String` is a phone number, a sender or a text.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::fields::Fields;
use crate::invalid::Invalid;
use crate::originator::Originator;
use crate::recipient::Recipient;
use crate::text::Text;

/// A caller's own reference, in characters.
pub const REFERENCE_CHARS_MAX: usize = 255;
/// How long a message may wait to be sent when its caller does not say, in seconds.
pub const VALIDITY_DEFAULT_S: i64 = 24 * 60 * 60;
/// The longest validity, in seconds: well below the four days that a bell lives in the queue.
pub const VALIDITY_MAX_S: i64 = 72 * 60 * 60;

const FIELDS: [&str; 5] = [
    "originator",
    "message",
    "recipient",
    "reference",
    "valid_until",
];

/// The body of POST /messages, or one element of POST /messages/bulk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageRequest {
    pub originator: Originator,
    pub message: Text,
    pub recipient: Recipient,
    pub reference: Option<String>,
    pub valid_until: Option<Timestamp>,
}

impl MessageRequest {
    /// Parses a JSON object. The error is about the first wrong field in seed 2's order:
    /// originator, message, recipient, then ours.
    pub fn parse(body: &Value, now: Timestamp) -> Result<Self, Invalid> {
        let fields = Fields::of(body)?;
        let request = Self {
            originator: Originator::parse(fields.get("originator"))?,
            message: Text::parse(fields.get("message"))?,
            recipient: Recipient::parse(fields.get("recipient"))?,
            reference: reference(fields.get("reference"))?,
            valid_until: valid_until(fields.get("valid_until"), now)?,
        };
        fields.refuse_unknown(&FIELDS, "a message")?;
        Ok(request)
    }

    /// Its `valid_until` has passed, so a 202 would promise what cannot happen.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|at| at <= now)
    }

    /// The refusal of an expired request.
    pub fn expired(&self) -> Invalid {
        let at = self
            .valid_until
            .map(|at| at.to_string())
            .unwrap_or_default();
        Invalid::new("valid_until", &at, &validity_rule())
    }

    /// The refusal of a request to a number that is known to be inactive.
    pub fn inactive(&self) -> Invalid {
        let rule = "This number is inactive: nothing is sent to it";
        Invalid::new("recipient", self.recipient.as_str(), rule)
    }
}

fn reference(value: &Value) -> Result<Option<String>, Invalid> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if (1..=REFERENCE_CHARS_MAX).contains(&text.chars().count()) => {
            Ok(Some(text.clone()))
        }
        other => {
            let rule = format!("Must be a string of 1 to {REFERENCE_CHARS_MAX} characters");
            Err(Invalid::of_value("reference", other, &rule))
        }
    }
}

fn valid_until(value: &Value, now: Timestamp) -> Result<Option<Timestamp>, Invalid> {
    if value.is_null() {
        return Ok(None);
    }
    let latest = now
        .saturating_add(SignedDuration::from_secs(VALIDITY_MAX_S))
        .unwrap_or(now);
    match value
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok())
    {
        // To the millisecond, as the record keeps it.
        Some(at) if at <= latest => Ok(Timestamp::from_millisecond(at.as_millisecond()).ok()),
        _ => Err(Invalid::of_value("valid_until", value, &validity_rule())),
    }
}

fn validity_rule() -> String {
    format!(
        "Must be an RFC 3339 time in the future, at most {} hours ahead",
        VALIDITY_MAX_S / 3600
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn parse(body: Value) -> Result<MessageRequest, Invalid> {
        MessageRequest::parse(&body, now())
    }

    fn field_of(body: Value) -> String {
        parse(body).unwrap_err().field
    }

    #[test]
    fn seed_2_the_valid_request_is_taken() {
        let request = parse(
            json!({"recipient": 31633450007_u64, "originator": "MB", "message": "This is a test message."}),
        );
        assert_eq!(request.unwrap().recipient.as_str(), "+31633450007");
    }

    #[test]
    fn seed_2_a_missing_originator_is_told_in_its_words() {
        let error =
            parse(json!({"recipient": 31633450007_u64, "message": "This is a test message."}))
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "'originator' field '' is invalid: 'Must be a phone number or an alpha numeric shorter or equal to 11 characters'"
        );
    }

    #[test]
    fn only_the_first_error_is_told_originator_then_message_then_recipient() {
        assert_eq!(field_of(json!({})), "originator");
        assert_eq!(field_of(json!({"originator": "MB"})), "message");
        assert_eq!(
            field_of(json!({"originator": "MB", "message": "x"})),
            "recipient"
        );
        assert_eq!(field_of(json!([])), "body");
        let extra = json!({"originator": "MB", "message": "x", "recipient": "4915112345678", "priority": 1});
        assert_eq!(field_of(extra), "priority");
    }

    #[test]
    fn a_time_without_a_future_is_refused() {
        let with = |at: &str| json!({"originator": "MB", "message": "x", "recipient": "4915112345678", "valid_until": at});
        let expired = |at: &str| parse(with(at)).unwrap().is_expired(now());
        assert!(!expired("2026-11-21T12:00:01Z") && expired("2026-11-21T12:00:00Z"));
        assert_eq!(
            parse(with("2026-11-21T12:00:00Z")).unwrap().expired().field,
            "valid_until"
        );
        for bad in ["2026-11-25T12:00:00Z", "tomorrow", "2026-11-21T13:00:00"] {
            assert_eq!(field_of(with(bad)), "valid_until", "{bad}");
        }
    }

    #[test]
    fn no_number_sender_or_words_are_printed() {
        let request =
            parse(json!({"recipient": "+31633450007", "originator": "Secret", "message": "hush"}))
                .unwrap();
        let printed = format!("{request:?}");
        assert!(
            !printed.contains("3163") && !printed.contains("hush") && !printed.contains("Secret"),
            "{printed}"
        );
    }
}
