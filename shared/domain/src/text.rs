//! The words of a message.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::invalid::Invalid;
use crate::segment;

/// Segments of one message: more than this are more likely a mistake than a message.
pub const SEGMENTS_MAX: usize = 10;

/// A text of one to ten segments.
///
/// Its `Debug` shows the type only, so that no words can slip into a log line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
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

    proptest! {
        #[test]
        fn a_text_has_one_to_ten_segments(text in "[a€я]{0,1600}") {
            let valid = !text.is_empty() && segment::segments(&text).count <= SEGMENTS_MAX;
            prop_assert_eq!(Text::parse(&json!(text)).is_ok(), valid);
        }
    }
}
