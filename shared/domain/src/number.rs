//! What is known of a phone number: whether messages to it are worth their price.
//!
//! A provider's report `invalid` about a message makes the message's recipient INACTIVE (W10). An
//! operator sets a number ACTIVE or INACTIVE, for example because it has a new owner. Reports are
//! repeated, replayed and late, so what counts is not when one arrives but when its message was
//! made, which the message's id shows. An operator's ACTIVE overrules every report about an older
//! message, however often and late it comes, and gives way to the first report about a newer one. A
//! number without an item is active.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::MessageId;
use crate::recipient::Recipient;

/// Whether messages are sent to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NumberStatus {
    Active,
    Inactive,
}

/// One item of table Numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number {
    pub recipient: Recipient,
    pub status: NumberStatus,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub since: Timestamp,
    /// The name of the operator or provider that set the status.
    pub by: String,
    /// The message that a provider reported; none where an operator set the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
}

impl Number {
    /// A report `invalid` about the message `reported` changes nothing: the number is INACTIVE
    /// already, or an operator made it ACTIVE after the message was made. The condition of W10 says
    /// the same.
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
        Number {
            recipient,
            status,
            since: second(since_s),
            by: "ops".to_owned(),
            message_id: None,
        }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millisecond(second * SECOND_MS).unwrap()
    }

    proptest! {
        /// Whatever the order and number of reports, only messages made after the operator's
        /// decision count.
        #[test]
        fn an_operator_s_decision_stands_until_a_later_message_is_reported(
            decided_s in 1_i64..100,
            sent_s in proptest::collection::vec(1_i64..100, 0..20),
        ) {
            let mut known = number(NumberStatus::Active, decided_s);
            for id in sent_s.iter().map(|&at_s| MessageId::new(second(at_s), [7; 10])) {
                if !known.stands_against(id) {
                    known = Number { message_id: Some(id), ..number(NumberStatus::Inactive, 1_000) };
                }
            }
            let reported_since = sent_s.iter().any(|at_s| *at_s > decided_s);
            prop_assert_eq!(known.status == NumberStatus::Inactive, reported_since);
        }
    }
}
