//! Who a message is from, as the phone shows it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::invalid::Invalid;

/// The sender that the phone shows: 6 to 15 digits, or 1 to 11 letters and digits.
///
/// Its `Debug` shows the type only, so that no sender can slip into a log line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Originator(String);

impl Originator {
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        let text = value.as_str().unwrap_or_default();
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let alphanumeric = text.bytes().all(|b| b.is_ascii_alphanumeric());
        if (digits && (6..=15).contains(&text.len()))
            || (alphanumeric && (1..=11).contains(&text.len()))
        {
            return Ok(Self(text.to_owned()));
        }
        let rule = "Must be a phone number or an alpha numeric shorter or equal to 11 characters";
        Err(Invalid::of_value("originator", value, rule))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Originator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Originator")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn an_originator_is_a_number_or_a_short_name(text in "[0-9a-zA-Zé +-]{0,17}") {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let name = text.bytes().all(|b| b.is_ascii_alphanumeric()) && (1..=11).contains(&text.len());
            let valid = name || (digits && (6..=15).contains(&text.len()));
            prop_assert_eq!(Originator::parse(&json!(text)).is_ok(), valid);
        }
    }
}
