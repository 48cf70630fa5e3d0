//! A message: what a caller may ask for, parsed once at the door, and what the record keeps of it.
//!
//! Below this file no `String` is a phone number, a sender or a text. The three print as their kind only,
//! so that nobody's number or words can slip into a log line.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{BatchId, MessageId};
use crate::segment::{self, Encoding};
use crate::state::{Reason, State};

/// More segments than this are more likely a mistake than a message.
pub const SEGMENTS_MAX: usize = 10;
/// A caller's own reference, in characters.
pub const REFERENCE_CHARS_MAX: usize = 255;
/// How long a message may wait to be sent when its caller does not say.
pub const VALIDITY_DEFAULT_S: i64 = 24 * 60 * 60;
/// The longest validity: well below the four days that a bell lives in the queue.
pub const VALIDITY_MAX_S: i64 = 72 * 60 * 60;

/// What an error says of the value it refuses, at most this much of it.
const QUOTED_CHARS_MAX: usize = 40;

const FIELDS: [&str; 5] = ["originator", "message", "recipient", "reference", "valid_until"];

/// A phone number in E.164: `+` and 4 to 15 digits, the first not a zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipient(String);

/// Who the phone shows as sender: 6 to 15 digits, or 1 to 11 letters and digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Originator(String);

/// A text of one to ten segments.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

/// A field that can't be taken, in seed 2's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{field}' field '{value}' is invalid: '{rule}'")]
pub struct Invalid {
    pub field: String,
    pub value: String,
    pub rule: String,
}

/// What a caller asks to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    pub originator: Originator,
    pub message: Text,
    pub recipient: Recipient,
    pub reference: Option<String>,
    pub valid_until: Option<Timestamp>,
}

/// A message as the record keeps it. Instants are milliseconds since 1970 there, so that conditions can
/// compare them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    pub client: String,
    pub recipient: Recipient,
    pub originator: Originator,
    pub body: Text,
    pub encoding: Encoding,
    pub segments: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub valid_until: Timestamp,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<BatchId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// How often it was claimed.
    pub tries: u32,
    /// How often a batch of it ended in an error answer of the provider, which counts against it.
    #[serde(default)]
    pub errors: u32,
    /// A provider refused a batch with it: its next one holds no more than this, so that the one that is refused
    /// stands alone in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The provider reported a message that the record says was not sent.
    #[serde(default)]
    pub contradicted: bool,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
}

impl Message {
    /// The message that `client`'s request becomes when it is accepted at `now` under `id`.
    pub fn accepted(id: MessageId, client: &str, request: Request, now: Timestamp) -> Self {
        let segments = segment::segments(request.message.as_str());
        let default = SignedDuration::from_secs(VALIDITY_DEFAULT_S);
        Self {
            id,
            client: client.to_owned(),
            recipient: request.recipient,
            originator: request.originator,
            body: request.message,
            encoding: segments.encoding,
            segments: segments.count,
            reference: request.reference,
            valid_until: request.valid_until.unwrap_or(now + default),
            state: State::Accepted,
            batch_id: None,
            provider: None,
            tries: 0,
            errors: 0,
            batch_max: None,
            reason: None,
            contradicted: false,
            updated_at: now,
        }
    }
}

impl Request {
    /// Parses a JSON object; only the first error is told, in seed 2's order: originator, message, recipient.
    pub fn parse(body: &Value, now: Timestamp) -> Result<Self, Invalid> {
        let Value::Object(fields) = body else {
            return Err(Invalid::new("body", "", "Must be a JSON object"));
        };
        let request = Self {
            originator: Originator::parse(field(fields, "originator"))?,
            message: Text::parse(field(fields, "message"))?,
            recipient: Recipient::parse(field(fields, "recipient"))?,
            reference: reference(field(fields, "reference"))?,
            valid_until: valid_until(field(fields, "valid_until"), now)?,
        };
        match fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            Some(unknown) => Err(Invalid::new(unknown, "", "Is not a field of a message")),
            None => Ok(request),
        }
    }
}

impl Request {
    /// Its `valid_until` has passed: nobody may be promised it any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|at| at <= now)
    }

    /// What is wrong with an expired request.
    pub fn expired(&self) -> Invalid {
        let at = self.valid_until.map(|at| at.to_string()).unwrap_or_default();
        Invalid::new("valid_until", &at, &validity_rule())
    }

    /// What is wrong with a request to a number that is known to be inactive.
    pub fn inactive(&self) -> Invalid {
        Invalid::new("recipient", self.recipient.as_str(), "This number is inactive: nothing is sent to it")
    }
}

impl Originator {
    fn parse(value: &Value) -> Result<Self, Invalid> {
        let text = value.as_str().unwrap_or_default();
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let alphanumeric = text.bytes().all(|b| b.is_ascii_alphanumeric());
        if (digits && (6..=15).contains(&text.len())) || (alphanumeric && (1..=11).contains(&text.len())) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "Must be a phone number or an alpha numeric shorter or equal to 11 characters";
        Err(Invalid::of_value("originator", value, rule))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text {
    fn parse(value: &Value) -> Result<Self, Invalid> {
        let text = value.as_str().unwrap_or_default();
        if !text.is_empty() && segment::segments(text).count <= SEGMENTS_MAX {
            return Ok(Self(text.to_owned()));
        }
        let rule = format!(
            "Must not be empty and shorter or equal to {SEGMENTS_MAX} segments (1530 GSM-7 or 670 UCS-2 characters)"
        );
        Err(Invalid::of_value("message", value, &rule))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Recipient {
    /// Takes a string with an optional `+`, or a JSON integer as seed 2's callers send it.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        let text = match value {
            Value::Number(number) => number.as_u64().map(|n| n.to_string()).unwrap_or_default(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        let digits = text.strip_prefix('+').unwrap_or(&text);
        let valid =
            (4..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        if valid {
            Ok(Self(format!("+{digits}")))
        } else {
            Err(Invalid::of_value("recipient", value, "Must be a valid MSISDN"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the plus, as an MSISDN is written.
    pub fn digits(&self) -> &str {
        self.0.trim_start_matches('+')
    }
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a Value {
    fields.get(name).unwrap_or(&Value::Null)
}

fn reference(value: &Value) -> Result<Option<String>, Invalid> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if (1..=REFERENCE_CHARS_MAX).contains(&text.chars().count()) => Ok(Some(text.clone())),
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
    let latest = now.saturating_add(SignedDuration::from_secs(VALIDITY_MAX_S)).unwrap_or(now);
    match value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        // To the millisecond, as the record keeps it.
        Some(at) if at <= latest => Ok(Timestamp::from_millisecond(at.as_millisecond()).ok()),
        _ => Err(Invalid::of_value("valid_until", value, &validity_rule())),
    }
}

fn validity_rule() -> String {
    format!("Must be an RFC 3339 time in the future, at most {} hours ahead", VALIDITY_MAX_S / 3600)
}

impl Invalid {
    pub fn new(field: &str, value: &str, rule: &str) -> Self {
        let quoted = |text: &str| text.chars().take(QUOTED_CHARS_MAX).collect();
        Self { field: quoted(field), value: quoted(value), rule: rule.to_owned() }
    }

    fn of_value(field: &str, value: &Value, rule: &str) -> Self {
        match value {
            Value::Null => Self::new(field, "", rule),
            Value::String(text) => Self::new(field, text, rule),
            other => Self::new(field, &other.to_string(), rule),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

impl fmt::Debug for Originator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Originator")
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn parse(body: Value) -> Result<Request, Invalid> {
        Request::parse(&body, now())
    }

    fn field_of(body: Value) -> String {
        parse(body).unwrap_err().field
    }

    #[test]
    fn seed_2_the_valid_request_is_taken() {
        let request =
            parse(json!({"recipient": 31633450007_u64, "originator": "MB", "message": "This is a test message."}));
        assert_eq!(request.unwrap().recipient.as_str(), "+31633450007");
    }

    #[test]
    fn seed_2_a_missing_originator_is_told_in_its_words() {
        let error = parse(json!({"recipient": 31633450007_u64, "message": "This is a test message."})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "'originator' field '' is invalid: 'Must be a phone number or an alpha numeric shorter or equal to 11 characters'"
        );
    }

    #[test]
    fn only_the_first_error_is_told_originator_then_message_then_recipient() {
        assert_eq!(field_of(json!({})), "originator");
        assert_eq!(field_of(json!({"originator": "MB"})), "message");
        assert_eq!(field_of(json!({"originator": "MB", "message": "x"})), "recipient");
        assert_eq!(field_of(json!([])), "body");
        let extra = json!({"originator": "MB", "message": "x", "recipient": "4915112345678", "priority": 1});
        assert_eq!(field_of(extra), "priority");
    }

    #[test]
    fn a_time_without_a_future_is_refused() {
        let with =
            |at: &str| json!({"originator": "MB", "message": "x", "recipient": "4915112345678", "valid_until": at});
        let expired = |at: &str| parse(with(at)).unwrap().is_expired(now());
        assert!(!expired("2026-11-21T12:00:01Z") && expired("2026-11-21T12:00:00Z"));
        assert_eq!(parse(with("2026-11-21T12:00:00Z")).unwrap().expired().field, "valid_until");
        for bad in ["2026-11-25T12:00:00Z", "tomorrow", "2026-11-21T13:00:00"] {
            assert_eq!(field_of(with(bad)), "valid_until", "{bad}");
        }
    }

    #[test]
    fn nobodys_number_or_words_are_printed() {
        let request = parse(json!({"recipient": "+31633450007", "originator": "Secret", "message": "hush"})).unwrap();
        let printed = format!("{request:?}");
        assert!(!printed.contains("3163") && !printed.contains("hush") && !printed.contains("Secret"), "{printed}");
    }

    proptest! {
        #[test]
        fn a_recipient_is_e164_or_refused(text in "\\+?[0-9a ]{0,18}") {
            let digits = text.strip_prefix('+').unwrap_or(&text);
            let valid = (4..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
            let e164 = format!("+{digits}");
            match Recipient::parse(&json!(text)) {
                Ok(recipient) => prop_assert!(valid && recipient.as_str() == e164),
                Err(error) => prop_assert!(!valid && error.field == "recipient"),
            }
        }

        #[test]
        fn an_originator_is_a_number_or_a_short_name(text in "[0-9a-zA-Zé +-]{0,17}") {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let name = text.bytes().all(|b| b.is_ascii_alphanumeric()) && (1..=11).contains(&text.len());
            let valid = name || (digits && (6..=15).contains(&text.len()));
            prop_assert_eq!(Originator::parse(&json!(text)).is_ok(), valid);
        }

        #[test]
        fn a_text_has_one_to_ten_segments(text in "[a€я]{0,1600}") {
            let valid = !text.is_empty() && segment::segments(&text).count <= SEGMENTS_MAX;
            prop_assert_eq!(Text::parse(&json!(text)).is_ok(), valid);
        }
    }
}
