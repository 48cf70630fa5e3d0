//! The rule by which waiting messages become batches. The dispatcher asks it what to send, `send`
//! and `sweep` when to ring.

use jiff::{SignedDuration, Timestamp};

use crate::grouping::Grouping;
use crate::id::MessageId;
use crate::message::Message;

/// How far before the oldest message of its bells a dispatcher reads, in seconds: the bells of
/// older messages may arrive a little later.
const LOOK_BACK_S: i64 = 5;
/// How long after it was due a message counts as having lost its bell, in seconds.
const OVERDUE_S: i64 = 10;

/// A batch goes out when it is full, or when its oldest message has waited the window.
#[derive(Clone, Copy, Debug)]
pub struct BatchPolicy {
    /// Messages in a full batch.
    pub size: usize,
    pub window: SignedDuration,
}

impl BatchPolicy {
    /// Picks from `waiting`, oldest first, what one request of this grouping and `size` carries at
    /// `now`; nothing while there is no batch to send.
    ///
    /// When a message is due, its request takes everything that fits with the oldest. Before that
    /// only a full batch goes, and only if no provider has larger ones: what waits may still share
    /// a cheaper request. Messages that a provider refused together go in smaller batches, and with
    /// no others.
    pub fn pick_batch(
        &self,
        waiting: &[Message],
        size: usize,
        grouping: Grouping,
        now: Timestamp,
    ) -> Vec<usize> {
        let request = Request {
            waiting,
            size,
            grouping,
        };
        match waiting.first() {
            Some(oldest) if self.is_due(oldest.id, now) => request.with_oldest(),
            Some(_) if size >= self.size => request.first_full(),
            _ => Vec::new(),
        }
    }

    /// Where a dispatcher begins to read what waits: a little before the oldest message that its
    /// bells name, or, when a batch has filled up, before the window; none if there is no reason to
    /// read.
    pub fn read_from(
        &self,
        rung: Option<MessageId>,
        full: bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let filled = full.then(|| now - self.window);
        let first = [rung.map(|id| id.created_at()), filled]
            .into_iter()
            .flatten()
            .min()?;
        Some(first - SignedDuration::from_secs(LOOK_BACK_S))
    }

    /// The message has waited the window, so a partial batch is worth its price.
    pub fn is_due(&self, id: MessageId, now: Timestamp) -> bool {
        now.duration_since(id.created_at()) >= self.window
    }

    /// The message has been due for so long that its bell is lost, unless the queue is behind.
    pub fn is_overdue(&self, id: MessageId, now: Timestamp) -> bool {
        now.duration_since(id.created_at()) >= self.window + SignedDuration::from_secs(OVERDUE_S)
    }

    /// How long until the message is due; zero when it is.
    pub fn wait(&self, id: MessageId, now: Timestamp) -> SignedDuration {
        (self.window - now.duration_since(id.created_at())).max(SignedDuration::ZERO)
    }
}

/// What waits, and what one request can carry of it.
struct Request<'a> {
    waiting: &'a [Message],
    size: usize,
    grouping: Grouping,
}

impl Request<'_> {
    /// The oldest message, and all that fit with it, in the order of waiting.
    fn with_oldest(&self) -> Vec<usize> {
        let mut picked = Vec::new();
        for n in 0..self.waiting.len() {
            if picked.is_empty() || self.fits(&picked, n) {
                picked.push(n);
            }
        }
        picked
    }

    /// The full batch with the oldest first message; none if nothing fills one.
    fn first_full(&self) -> Vec<usize> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for n in 0..self.waiting.len() {
            match groups.iter_mut().find(|group| self.fits(group, n)) {
                Some(group) => group.push(n),
                None => groups.push(vec![n]),
            }
        }
        groups.retain(|group| group.len() == self.room(group[0]));
        groups.into_iter().next().unwrap_or_default()
    }

    /// A request that carries `group` can carry message `n` as well.
    fn fits(&self, group: &[usize], n: usize) -> bool {
        let (first, more) = (&self.waiting[group[0]], &self.waiting[n]);
        first.batch_max == more.batch_max
            && group.len() < self.room(n)
            && self
                .grouping
                .fits(group.iter().map(|&n| &self.waiting[n]), more)
    }

    /// How many messages may go with message `n`, itself included.
    fn room(&self, n: usize) -> usize {
        let max = self.waiting[n]
            .batch_max
            .map_or(self.size, |max| max as usize);
        self.size.min(max).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::message_request::MessageRequest;

    const NOW_MS: i64 = 1_795_262_400_000;

    /// Messages of these ages, oldest first; their texts and recipients are few, so that some share
    /// a request.
    fn waiting(ages_ms: &[i64]) -> Vec<Message> {
        let mut ages_ms = ages_ms.to_vec();
        ages_ms.sort_by_key(|age| -age);
        let made = |age: &i64| {
            let at = Timestamp::from_millisecond(NOW_MS - age).unwrap();
            let wanted = json!({"recipient": 31_600_000_000_u64 + *age as u64 % 7, "originator": "MB", "message": format!("{}", age % 3)});
            Message::accepted(
                MessageId::new(at, [7; 10]),
                "shop",
                MessageRequest::parse(&wanted, at).unwrap(),
                at,
            )
        };
        ages_ms.iter().map(made).collect()
    }

    fn policy(size: usize, window_s: i64) -> BatchPolicy {
        BatchPolicy {
            size,
            window: SignedDuration::from_secs(window_s),
        }
    }

    fn grouping() -> impl Strategy<Value = Grouping> {
        prop::sample::select(vec![Grouping::Any, Grouping::SameText, Grouping::Single])
    }

    proptest! {
        #[test]
        fn full_batches_first_and_a_partial_one_only_if_it_holds_a_due_message(
            ages_ms in vec(0_i64..40_000, 0..350),
            size in 1_usize..120,
            window_s in 0_i64..40,
        ) {
            let (policy, now) = (policy(size, window_s), Timestamp::from_millisecond(NOW_MS).unwrap());
            let mut left = waiting(&ages_ms);
            loop {
                let load = policy.pick_batch(&left, size, Grouping::Any, now);
                prop_assert!(load.iter().copied().eq(0..load.len()), "oldest first, none skipped");
                let batch: Vec<_> = left.drain(..load.len()).collect();
                prop_assert!(batch.len() == size || batch.iter().any(|one| policy.is_due(one.id, now)) || batch.is_empty());
                if batch.is_empty() {
                    break;
                }
            }
            prop_assert!(left.len() < size, "a full batch does not wait");
            prop_assert!(left.iter().all(|one| !policy.is_due(one.id, now)), "a due message does not wait");
            prop_assert!(left.iter().all(|one| policy.wait(one.id, now) > SignedDuration::ZERO));
        }

        #[test]
        fn a_request_holds_only_what_fits_and_all_of_it(
            ages_ms in vec(0_i64..40_000, 0..120),
            size in 1_usize..30,
            largest in 1_usize..30,
            grouping in grouping(),
        ) {
            let (policy, now) = (policy(size.max(largest), 20), Timestamp::from_millisecond(NOW_MS).unwrap());
            let all = waiting(&ages_ms);
            let load = policy.pick_batch(&all, size, grouping, now);
            let batch: Vec<_> = load.iter().map(|&n| &all[n]).collect();
            for (n, message) in batch.iter().enumerate() {
                prop_assert!(grouping.fits(batch[..n].iter().copied(), message));
            }
            prop_assert!(batch.len() <= size);
            let due = all.iter().any(|one| policy.is_due(one.id, now));
            if due {
                prop_assert_eq!(load[0], 0, "the oldest goes first");
                let more = all.iter().enumerate().any(|(n, one)| !load.contains(&n) && grouping.fits(batch.iter().copied(), one));
                prop_assert!(batch.len() == size || !more, "what fits rides along");
            } else {
                prop_assert!(batch.is_empty() || (batch.len() == size && size >= largest));
            }
        }
    }
}
