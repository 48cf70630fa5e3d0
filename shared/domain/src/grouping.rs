//! Which messages one request of a provider can carry together.
//!
//! A provider bills requests, so messages that may share one should. Which may is a property of the
//! protocol; how many is the provider's `batch_size`.

use crate::message::Message;

/// What the messages of one request have to have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Nothing.
    Any,
    /// Originator and text. The recipients differ, because a report names its message by its
    /// recipient only.
    SameText,
    /// A request carries one message only.
    Single,
}

impl Grouping {
    /// A request that can carry `batch` can carry `more` as well.
    pub fn fits<'a>(self, batch: impl IntoIterator<Item = &'a Message>, more: &Message) -> bool {
        let mut batch = batch.into_iter();
        match self {
            Grouping::Any => true,
            Grouping::SameText => batch.all(|one| {
                one.originator == more.originator
                    && one.body == more.body
                    && one.recipient != more.recipient
            }),
            Grouping::Single => batch.next().is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::Timestamp;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::json;

    use super::*;
    use crate::id::MessageId;
    use crate::message_request::MessageRequest;

    const NOW_MS: i64 = 1_795_262_400_000;

    /// Messages of few originators, texts and recipients, so that many share them.
    fn message() -> impl Strategy<Value = Message> {
        (any::<[u8; 10]>(), 0_u8..3, 0_u8..3, 0_u8..6).prop_map(
            |(chance, originator, text, recipient)| {
                let now = Timestamp::from_millisecond(NOW_MS).unwrap();
                let request = json!({
                    "originator": format!("MB{originator}"),
                    "message": format!("text {text}"),
                    "recipient": format!("+3163345000{recipient}"),
                });
                Message::accepted(
                    MessageId::new(now, chance),
                    "shop",
                    MessageRequest::parse(&request, now).unwrap(),
                    now,
                )
            },
        )
    }

    /// Fills a batch as a dispatcher does: what does not fit is left for another one.
    fn filled(grouping: Grouping, waiting: &[Message]) -> (Vec<Message>, Vec<Message>) {
        let (mut batch, mut left) = (Vec::new(), Vec::new());
        for message in waiting {
            if grouping.fits(&batch, message) {
                batch.push(message.clone())
            } else {
                left.push(message.clone())
            }
        }
        (batch, left)
    }

    proptest! {
        #[test]
        fn the_oldest_message_always_fits_so_nothing_waits_for_ever(
            grouping in select(vec![Grouping::Any, Grouping::SameText, Grouping::Single]),
            waiting in vec(message(), 1..40),
        ) {
            let (mut left, mut carried) = (waiting.clone(), 0);
            while !left.is_empty() {
                let (batch, rest) = filled(grouping, &left);
                prop_assert_eq!(&batch[0], &left[0]);
                carried += batch.len();
                left = rest;
            }
            prop_assert_eq!(carried, waiting.len());
        }

        #[test]
        fn what_shares_a_text_shares_a_request_and_no_recipient_is_in_it_twice(waiting in vec(message(), 1..40)) {
            let (batch, left) = filled(Grouping::SameText, &waiting);
            let same = |message: &Message| {
                (message.originator.as_str(), message.body.as_str()) == (batch[0].originator.as_str(), batch[0].body.as_str())
            };
            prop_assert!(batch.iter().all(same));
            let recipients: HashSet<_> = batch.iter().map(|message| message.recipient.as_str()).collect();
            prop_assert_eq!(recipients.len(), batch.len());
            let repeated = |message: &Message| recipients.contains(message.recipient.as_str());
            prop_assert!(left.iter().all(|message| !same(message) || repeated(message)), "none is left out needlessly");
        }

        #[test]
        fn any_takes_all_and_single_takes_one(waiting in vec(message(), 1..40)) {
            prop_assert_eq!(filled(Grouping::Any, &waiting).0.len(), waiting.len());
            prop_assert_eq!(filled(Grouping::Single, &waiting).0.len(), 1);
        }
    }
}
