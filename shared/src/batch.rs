//! A batch: one request to a provider. Its record is the commit point, the recovery log and the invoice
//! line in one, so it is written before anything is sent, and its members never change.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::shape::Shape;

/// How far behind the oldest message of its bells a consumer reads.
const LOOK_BACK_S: i64 = 5;

/// What the record knows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BatchState {
    /// The intent is written; a request may be on its way.
    Started,
    /// The provider took it. Final.
    Confirmed,
    /// Provably not sent. Final.
    Rejected,
    /// The provider may have taken it. Nothing but its idempotency key or a report may settle it.
    Unknown,
    /// Declared dead before its intent was written: whoever still holds it can never send it. Final.
    Tomb,
}

/// The record of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub id: BatchId,
    pub provider: String,
    pub state: BatchState,
    /// In request order, so that the same bytes can be made again.
    pub members: Vec<MessageId>,
    /// Requests begun; each was counted before it was sent.
    pub attempts: u32,
    /// An attempt went unanswered: no later answer can prove that nothing was sent.
    #[serde(default)]
    pub ambiguous: bool,
    /// Who may send it, so that a late rival is told apart from the owner's own repeated write.
    pub owner: String,
    /// When its owner will have been stopped at the latest.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub deadline: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The provider's own name for the request, as its invoice lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The members that the provider refused while it took the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// An operator's word on a batch that was not sent: whether its members go out with another one. Nothing if no
    /// operator spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeue: Option<bool>,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
}

/// What a sender learned of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Confirmed {
        request_id: Option<String>,
        refused: Vec<MessageId>,
    },
    /// Provably not sent, in attempt number `attempts`, which was the last one begun.
    Rejected {
        attempts: u32,
    },
    Unknown,
    /// An operator knows that an unknown batch was not sent, in any of its `attempts`; with `requeue` its members go
    /// out with another one.
    Disproved {
        attempts: u32,
        requeue: bool,
    },
}

/// What the provider's last answer looked like, for the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub http_status: Option<u16>,
    pub error: Option<String>,
}

/// The rule by which messages become batches: a batch goes out when it is full, or when its oldest
/// message has waited the window.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Messages in a full batch.
    pub size: usize,
    pub window: SignedDuration,
}

impl Plan {
    /// Which of `waiting`, oldest first, one request of this shape takes at `now`, up to its own `size`; none while
    /// there is no batch to send.
    ///
    /// When a message is due, its request takes all that fit with the oldest. Before that, only a full batch goes,
    /// and only if no provider has larger ones: what waits may still share a cheaper request. Messages that a provider
    /// refused together go in smaller batches, and with nobody else.
    pub fn load(&self, waiting: &[Message], size: usize, shape: Shape, now: Timestamp) -> Vec<usize> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let room = |message: &Message| message.batch_max.map_or(size, |max| size.min(max as usize)).max(1);
        let is_due = waiting.first().is_some_and(|oldest| self.is_due(oldest.id, now));
        for (n, message) in waiting.iter().enumerate() {
            let fits = |group: &Vec<usize>| {
                waiting[group[0]].batch_max == message.batch_max
                    && group.len() < room(message)
                    && shape.fits(group.iter().map(|&n| &waiting[n]), message)
            };
            match groups.iter().position(fits) {
                Some(group) => groups[group].push(n),
                None if is_due && !groups.is_empty() => {}
                None => groups.push(vec![n]),
            }
        }
        let is_full = |group: &Vec<usize>| size >= self.size && group.len() == room(&waiting[group[0]]);
        let chosen = if is_due { Some(0) } else { groups.iter().position(is_full) };
        chosen.map(|chosen| groups.swap_remove(chosen)).unwrap_or_default()
    }

    /// Where a consumer begins to read what waits: a little before the oldest message that its bells ring for, since
    /// others' bells for older messages may come a little later, or, when a batch has filled up, before the window;
    /// nowhere if there is no reason to read.
    pub fn start(&self, rung: Option<MessageId>, full: bool, now: Timestamp) -> Option<Timestamp> {
        let filled = full.then(|| now - self.window);
        let first = [rung.map(|id| id.created_at()), filled].into_iter().flatten().min()?;
        Some(first - SignedDuration::from_secs(LOOK_BACK_S))
    }

    /// The message has waited long enough to pay for a partial batch.
    pub fn is_due(&self, id: MessageId, now: Timestamp) -> bool {
        now.duration_since(id.created_at()) >= self.window
    }

    /// How long until the message is due; zero when it is.
    pub fn wait(&self, id: MessageId, now: Timestamp) -> SignedDuration {
        (self.window - now.duration_since(id.created_at())).max(SignedDuration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::message::Request;

    const NOW_MS: i64 = 1_795_262_400_000;

    /// Messages of these ages, oldest first; their texts and recipients are few, so that some share a request.
    fn waiting(ages_ms: &[i64]) -> Vec<Message> {
        let mut ages_ms = ages_ms.to_vec();
        ages_ms.sort_by_key(|age| -age);
        let made = |age: &i64| {
            let at = Timestamp::from_millisecond(NOW_MS - age).unwrap();
            let wanted = json!({"recipient": 31_600_000_000_u64 + *age as u64 % 7, "originator": "MB", "message": format!("{}", age % 3)});
            Message::accepted(MessageId::new(at, [7; 10]), "shop", Request::parse(&wanted, at).unwrap(), at)
        };
        ages_ms.iter().map(made).collect()
    }

    fn plan(size: usize, window_s: i64) -> Plan {
        Plan { size, window: SignedDuration::from_secs(window_s) }
    }

    fn shape() -> impl Strategy<Value = Shape> {
        prop::sample::select(vec![Shape::Any, Shape::SameText, Shape::Single])
    }

    proptest! {
        #[test]
        fn full_batches_first_and_a_partial_one_only_if_it_holds_a_due_message(
            ages_ms in vec(0_i64..40_000, 0..350),
            size in 1_usize..120,
            window_s in 0_i64..40,
        ) {
            let (plan, now) = (plan(size, window_s), Timestamp::from_millisecond(NOW_MS).unwrap());
            let mut left = waiting(&ages_ms);
            loop {
                let load = plan.load(&left, size, Shape::Any, now);
                prop_assert!(load.iter().copied().eq(0..load.len()), "oldest first, none skipped");
                let batch: Vec<_> = left.drain(..load.len()).collect();
                prop_assert!(batch.len() == size || batch.iter().any(|one| plan.is_due(one.id, now)) || batch.is_empty());
                if batch.is_empty() {
                    break;
                }
            }
            prop_assert!(left.len() < size, "a full batch does not wait");
            prop_assert!(left.iter().all(|one| !plan.is_due(one.id, now)), "a due message does not wait");
            prop_assert!(left.iter().all(|one| plan.wait(one.id, now) > SignedDuration::ZERO));
        }

        #[test]
        fn a_request_holds_only_what_fits_and_all_of_it(
            ages_ms in vec(0_i64..40_000, 0..120),
            size in 1_usize..30,
            largest in 1_usize..30,
            shape in shape(),
        ) {
            let (plan, now) = (plan(size.max(largest), 20), Timestamp::from_millisecond(NOW_MS).unwrap());
            let all = waiting(&ages_ms);
            let load = plan.load(&all, size, shape, now);
            let batch: Vec<_> = load.iter().map(|&n| &all[n]).collect();
            for (n, message) in batch.iter().enumerate() {
                prop_assert!(shape.fits(batch[..n].iter().copied(), message));
            }
            prop_assert!(batch.len() <= size);
            let due = all.iter().any(|one| plan.is_due(one.id, now));
            if due {
                prop_assert_eq!(load[0], 0, "the oldest goes first");
                let more = all.iter().enumerate().any(|(n, one)| !load.contains(&n) && shape.fits(batch.iter().copied(), one));
                prop_assert!(batch.len() == size || !more, "what fits rides along");
            } else {
                prop_assert!(batch.is_empty() || (batch.len() == size && size >= largest));
            }
        }
    }
}
