//! A recipient's phone number, in E.164.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::invalid::Invalid;

/// A phone number in E.164: `+` and 4 to 15 digits, the first not a zero.
///
/// Its `Debug` shows the type only, so that no number can slip into a log line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipient(String);

impl Recipient {
    /// Takes a string with an optional `+`, or a JSON integer as seed 2's callers send it.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        let text = match value {
            Value::Number(number) => number.as_u64().map(|n| n.to_string()).unwrap_or_default(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        let digits = text.strip_prefix('+').unwrap_or(&text);
        let valid = (4..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if valid {
            Ok(Self(format!("+{digits}")))
        } else {
            Err(Invalid::of_value(
                "recipient",
                value,
                "Must be a valid MSISDN",
            ))
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

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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
    }
}
