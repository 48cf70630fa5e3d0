//! A batch: one request to a provider. Its record is the commit point, the recovery log and the invoice
//! line in one, so it is written before anything is sent, and its members never change.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::shape::Shape;

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
    /// An operator knows that an unknown batch was not sent.
    Disproved,
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
    /// and only if no provider has larger ones: what waits may still share a cheaper request.
    pub fn load(&self, waiting: &[Message], size: usize, shape: Shape, now: Timestamp) -> Vec<usize> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let is_due = waiting.first().is_some_and(|oldest| self.is_due(oldest.id, now));
        for (n, message) in waiting.iter().enumerate() {
            let fits =
                |group: &Vec<usize>| group.len() < size && shape.fits(group.iter().map(|&n| &waiting[n]), message);
            match groups.iter().position(fits) {
                Some(group) => groups[group].push(n),
                None if is_due && !groups.is_empty() => {}
                None => groups.push(vec![n]),
            }
        }
        let full = groups.iter().position(|group| size >= self.size && group.len() == size);
        let chosen = if is_due { Some(0) } else { full };
        chosen.map(|chosen| groups.swap_remove(chosen)).unwrap_or_default()
    }

    /// How many of `waiting`, oldest first, the next batch takes at `now`; 0 while there is none to send.
    pub fn next(&self, waiting: &[MessageId], now: Timestamp) -> usize {
        let ready = waiting.len() >= self.size || waiting.iter().any(|id| self.is_due(*id, now));
        if ready { waiting.len().min(self.size) } else { 0 }
    }

    /// The message has waited long enough to pay for a partial batch.
    pub fn is_due(&self, id: MessageId, now: Timestamp) -> bool {
        now.duration_since(id.created_at()) >= self.window
    }

    /// How long until the message is due; zero when it is.
    pub fn wait(&self, id: MessageId, now: Timestamp) -> SignedDuration {
        (self.window - now.duration_since(id.created_at())).max(SignedDuration::ZERO)
    }

    /// All batches of `waiting`, oldest first: full ones, then a partial one if it holds a due message.
    pub fn batches<'a>(&self, mut waiting: &'a [MessageId], now: Timestamp) -> Vec<&'a [MessageId]> {
        let mut batches = Vec::new();
        while let taken @ 1.. = self.next(waiting, now) {
            let (batch, rest) = waiting.split_at(taken);
            batches.push(batch);
            waiting = rest;
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: i64 = 1_795_262_400_000;

    fn waiting(ages_ms: &[i64]) -> Vec<MessageId> {
        let made = |age: &i64| Timestamp::from_millisecond(NOW_MS - age).unwrap();
        let mut ids: Vec<_> = ages_ms.iter().map(|age| MessageId::new(made(age), [7; 10])).collect();
        ids.sort();
        ids
    }

    proptest! {
        #[test]
        fn full_batches_first_and_a_partial_one_only_if_it_holds_a_due_message(
            ages_ms in vec(0_i64..40_000, 0..350),
            size in 1_usize..120,
            window_s in 0_i64..40,
        ) {
            let plan = Plan { size, window: SignedDuration::from_secs(window_s) };
            let now = Timestamp::from_millisecond(NOW_MS).unwrap();
            let ids = waiting(&ages_ms);
            let batches = plan.batches(&ids, now);

            let sent: Vec<_> = batches.concat();
            prop_assert_eq!(&sent[..], &ids[..sent.len()], "oldest first, none twice, none skipped");
            for (n, batch) in batches.iter().enumerate() {
                let last = n + 1 == batches.len();
                prop_assert!(batch.len() == size || (last && batch.iter().any(|id| plan.is_due(*id, now))));
            }
            let left = &ids[sent.len()..];
            prop_assert!(left.len() < size, "a full batch does not wait");
            prop_assert!(left.iter().all(|id| !plan.is_due(*id, now)), "a due message does not wait");
            prop_assert!(left.iter().all(|id| plan.wait(*id, now) > SignedDuration::ZERO));
        }
    }
}
