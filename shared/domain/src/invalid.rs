//! The refusal of one field, in seed 2's words.

use serde_json::Value;

/// How much of a refused value an error quotes: enough to recognise it, and not a whole text.
const QUOTED_CHARS_MAX: usize = 40;

/// A field that cannot be taken. Its `Display` is the sentence that seed 2's callers know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{field}' field '{value}' is invalid: '{rule}'")]
pub struct Invalid {
    pub field: String,
    pub value: String,
    pub rule: String,
}

impl Invalid {
    pub fn new(field: &str, value: &str, rule: &str) -> Self {
        let quoted = |text: &str| text.chars().take(QUOTED_CHARS_MAX).collect();
        Self {
            field: quoted(field),
            value: quoted(value),
            rule: rule.to_owned(),
        }
    }

    /// Quotes a JSON value: a string without its quotation marks, and null as nothing.
    pub fn of_value(field: &str, value: &Value, rule: &str) -> Self {
        match value {
            Value::Null => Self::new(field, "", rule),
            Value::String(text) => Self::new(field, text, rule),
            other => Self::new(field, &other.to_string(), rule),
        }
    }
}
