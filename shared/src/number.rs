//! A phone number, by what is known of it: whether messages to it are worth their money.
//!
//! Two speak about a number. A provider reports `invalid` about a message, which makes the message's recipient
//! INACTIVE. An operator says ACTIVE or INACTIVE, e.g. because the number was given to somebody else. Reports are
//! repeated, replayed and late, so the time at which one arrives says nothing; the message it is about does: its
//! id says when it was made. An operator's ACTIVE stands against every report about a message that was made before
//! it, however often and whenever that is told, and gives way to the first report about a message made after it.
//! A number that nobody spoke about is as good as an active one, and nothing is kept of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::MessageId;
use crate::message::Recipient;

/// Whether messages are sent to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NumberStatus {
    Active,
    Inactive,
}

/// What the record keeps of a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number {
    pub recipient: Recipient,
    pub status: NumberStatus,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub since: Timestamp,
    /// Who said so: an operator by name, or a provider by name.
    pub by: String,
    /// The message that a provider reported; none where an operator spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
}

impl Number {
    /// Whether this stands against a report `invalid` about the message `reported`: it is INACTIVE already, or an
    /// operator made it ACTIVE after the message was made. The condition of W10 says the same.
    pub fn stands_against(&self, reported: MessageId) -> bool {
        self.status == NumberStatus::Inactive || self.since >= reported.created_at()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SECOND_MS: i64 = 1_000;

    fn number(status: NumberStatus, since_s: i64) -> Number {
        let recipient = Recipient::parse(&json!("+31633450007")).unwrap();
        Number { recipient, status, since: second(since_s), by: "ops".to_owned(), message_id: None }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millisecond(second * SECOND_MS).unwrap()
    }

    proptest! {
        /// Reports come in any order and as often as they like: only what was sent after the operator's word counts.
        #[test]
        fn an_operators_word_stands_until_a_later_message_is_reported(
            word_s in 1_i64..100,
            sent_s in proptest::collection::vec(1_i64..100, 0..20),
        ) {
            let mut known = number(NumberStatus::Active, word_s);
            for id in sent_s.iter().map(|&at_s| MessageId::new(second(at_s), [7; 10])) {
                if !known.stands_against(id) {
                    known = Number { message_id: Some(id), ..number(NumberStatus::Inactive, 1_000) };
                }
            }
            let reported_since = sent_s.iter().any(|at_s| *at_s > word_s);
            prop_assert_eq!(known.status == NumberStatus::Inactive, reported_since);
        }
    }
}
