//! The figures of a provider's batches: how many requests, how they ended, what they carried, how
//! long messages waited.
//!
//! They are computed from batch items, one at a time and in any order, so they cannot drift from
//! the record as counters do. How long a message waited needs no further read: its id and its
//! batch's id are both UUIDv7, and the wait is the time between them.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::batch::{Batch, BatchState};
use crate::id::BatchId;
use crate::money::Money;

/// Parts of each power of two that waits are counted by: the middle of a part is at most 1/64 (1.6
/// %) away from any wait in it, and below 64 ms it is the wait itself.
const PARTS: u64 = 1 << PARTS_BITS;
const PARTS_BITS: u32 = 5;
/// Bits of the longest wait that is counted, 34 years; longer ones count as that.
const WAIT_BITS_MAX: u32 = 40;
const COUNTERS: usize = (PARTS * (WAIT_BITS_MAX - PARTS_BITS + 1) as u64) as usize;

/// Adds up the batches of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    successes: u64,
    failures: u64,
    unknown: u64,
    attempts: u64,
    messages: u64,
    last_error: Option<LastError>,
    waits: Waits,
}

/// The error that was recorded last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LastError {
    pub at: Timestamp,
    pub batch_id: BatchId,
    pub http_status: Option<u16>,
    pub error: Option<String>,
}

/// The figures of one provider; null where nothing was recorded to compute them from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Batches whose intent was recorded: successes, failures and unknown ones.
    pub requests: u64,
    /// Attempts of those requests.
    pub attempts: u64,
    pub successes: u64,
    pub failures: u64,
    /// May have been sent, or still under way.
    pub unknown: u64,
    /// Successes per 100 requests, to two decimals.
    pub success_percentage: Option<f64>,
    pub last_error: Option<LastError>,
    /// Messages that the provider took and did not refuse singly.
    pub messages: u64,
    /// Messages that a successful request carried, to two decimals.
    pub sms_per_request: Option<f64>,
    /// Requests saved by not sending each message with its own. Below 0 when requests were taken
    /// whose messages were all refused.
    pub requests_saved: i64,
    /// The price of those requests.
    pub money_saved: Option<Money>,
    /// From the acceptance of a message to the claim of the batch that sent it.
    pub mean_wait_ms: Option<u64>,
    /// 95 % of the messages waited this long or less; within 1.6 %.
    pub p95_wait_ms: Option<u64>,
}

impl Statistics {
    /// Adds a batch.
    pub fn add(&mut self, batch: &Batch) {
        match batch.state {
            // No request was ever made under this id.
            BatchState::Abandoned => return,
            BatchState::Confirmed => self.success(batch),
            BatchState::Rejected => self.failures += 1,
            BatchState::Unknown | BatchState::Started => self.unknown += 1,
        }
        self.attempts += u64::from(batch.attempts);
        // The error of an earlier attempt does not count once the batch succeeded.
        if batch.state != BatchState::Confirmed
            && (batch.last_error.is_some() || batch.http_status.is_some())
        {
            let error = LastError {
                at: batch.updated_at,
                batch_id: batch.id,
                http_status: batch.http_status,
                error: batch.last_error.clone(),
            };
            self.last_error = self.last_error.take().max(Some(error));
        }
    }

    fn success(&mut self, batch: &Batch) {
        self.successes += 1;
        for id in batch
            .members
            .iter()
            .filter(|id| !batch.refused.contains(id))
        {
            self.messages += 1;
            self.waits
                .add(batch.id.created_at().duration_since(id.created_at()));
        }
    }

    /// The figures of all that was added, at this price of a request.
    pub fn figures(&self, price: Option<Money>) -> Figures {
        let requests = self.successes + self.failures + self.unknown;
        let saved = i64::try_from(self.messages).unwrap_or(i64::MAX)
            - i64::try_from(self.successes).unwrap_or(0);
        Figures {
            requests,
            attempts: self.attempts,
            successes: self.successes,
            failures: self.failures,
            unknown: self.unknown,
            success_percentage: hundredths(100 * self.successes, requests),
            last_error: self.last_error.clone(),
            messages: self.messages,
            sms_per_request: hundredths(self.messages, self.successes),
            requests_saved: saved,
            money_saved: price.map(|price| price * saved),
            mean_wait_ms: self.waits.mean_ms(),
            p95_wait_ms: self.waits.percentile_ms(95),
        }
    }
}

/// A ratio to two decimals, rounded half up; none if the whole is zero.
fn hundredths(part: u64, whole: u64) -> Option<f64> {
    let rounded =
        (200 * u128::from(part) + u128::from(whole)).checked_div(2 * u128::from(whole))?;
    Some(rounded as f64 / 100.0)
}

/// Counts waits in a fixed amount of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waits {
    sum_ms: u128,
    count: u64,
    counters: Box<[u64]>,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            sum_ms: 0,
            count: 0,
            counters: vec![0; COUNTERS].into(),
        }
    }
}

impl Waits {
    /// A batch older than its message was made by a clock that is slow, and counts as no wait.
    fn add(&mut self, wait: SignedDuration) {
        let ms = u64::try_from(wait.as_millis())
            .unwrap_or(0)
            .min((1 << WAIT_BITS_MAX) - 1);
        self.sum_ms += u128::from(ms);
        self.count += 1;
        self.counters[counter(ms)] += 1;
    }

    fn mean_ms(&self) -> Option<u64> {
        u64::try_from(self.sum_ms.checked_div(u128::from(self.count))?).ok()
    }

    /// The smallest wait that this percentage of all waits does not exceed.
    fn percentile_ms(&self, percent: u64) -> Option<u64> {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100);
        let mut counted = 0;
        let reached = self.counters.iter().position(|count| {
            counted += u128::from(*count);
            counted >= rank && counted > 0
        })?;
        Some(middle_ms(reached))
    }
}

/// The counter of a wait: the first 32 hold one millisecond each, then 32 share each power of two.
fn counter(ms: u64) -> usize {
    let shift = ms.checked_ilog2().unwrap_or(0).saturating_sub(PARTS_BITS);
    (u64::from(shift) * PARTS + (ms >> shift)) as usize
}

/// The middle of the waits that share a counter.
fn middle_ms(counter: usize) -> u64 {
    let counter = counter as u64;
    let shift = (counter / PARTS).saturating_sub(1);
    let first = counter - shift * PARTS;
    (first << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::id::MessageId;

    const NOW_MS: i64 = 1_795_262_400_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(NOW_MS + ms).unwrap()
    }

    /// A batch of messages that waited this long, the first few of which were refused.
    fn batch(
        n: u8,
        state: BatchState,
        waits_ms: &[i64],
        refused: usize,
        error: Option<u16>,
    ) -> Batch {
        let member = |(m, wait): (usize, &i64)| MessageId::new(at(-wait), [m as u8; 10]);
        let members: Vec<_> = waits_ms.iter().enumerate().map(member).collect();
        Batch {
            id: BatchId::new(at(0), [n; 10]),
            provider: "fastsmsing".into(),
            state,
            refused: members.iter().take(refused).copied().collect(),
            members,
            attempts: 1 + u32::from(n % 3),
            ambiguous: false,
            owner: String::new(),
            deadline: at(0),
            http_status: error,
            request_id: None,
            last_error: error.map(|status| format!("error {status}")),
            requeue: None,
            updated_at: at(i64::from(n % 7)),
        }
    }

    fn state() -> impl Strategy<Value = BatchState> {
        use BatchState::{Abandoned, Confirmed, Rejected, Started, Unknown};
        select(vec![Started, Confirmed, Rejected, Unknown, Abandoned])
    }

    #[test]
    fn of_nothing_there_are_no_ratios() {
        let figures = Statistics::default().figures("0.05".parse().ok());
        assert_eq!(
            (
                figures.requests,
                figures.success_percentage,
                figures.sms_per_request
            ),
            (0, None, None)
        );
        assert_eq!(
            (
                figures.mean_wait_ms,
                figures.p95_wait_ms,
                figures.last_error
            ),
            (None, None, None)
        );
        assert_eq!(figures.money_saved.unwrap().to_string(), "0.00");
    }

    #[test]
    fn two_successes_of_three_are_66_67_percent() {
        let mut statistics = Statistics::default();
        statistics.add(&batch(0, BatchState::Confirmed, &[100; 20], 1, None));
        statistics.add(&batch(1, BatchState::Confirmed, &[40_000], 0, Some(500)));
        statistics.add(&batch(2, BatchState::Unknown, &[1; 9], 0, Some(502)));
        statistics.add(&batch(3, BatchState::Abandoned, &[1; 9], 0, Some(503)));
        let figures = statistics.figures("0.05".parse().ok());
        assert_eq!(
            (
                figures.requests,
                figures.successes,
                figures.unknown,
                figures.attempts
            ),
            (3, 2, 1, 6)
        );
        assert_eq!(
            (figures.success_percentage, figures.sms_per_request),
            (Some(66.67), Some(10.0))
        );
        assert_eq!((figures.messages, figures.requests_saved), (20, 18));
        assert_eq!(figures.money_saved.unwrap().to_string(), "0.90");
        assert_eq!(
            figures.last_error.unwrap().http_status,
            Some(502),
            "an error of what succeeded is none"
        );
        assert_eq!(figures.mean_wait_ms, Some((19 * 100 + 40_000) / 20));
        assert_eq!(
            figures.p95_wait_ms,
            Some(101),
            "a wait of 100 ms is counted with one of 101 ms"
        );
    }

    proptest! {
        #[test]
        fn a_counter_s_middle_is_within_a_64th_of_every_wait_it_counts(ms in 0_u64..1 << WAIT_BITS_MAX) {
            let middle = middle_ms(counter(ms));
            prop_assert!(64 * middle.abs_diff(ms) <= ms, "{ms} ms is shown as {middle} ms");
            prop_assert!(counter(ms) < COUNTERS);
            prop_assert_eq!(counter(middle), counter(ms));
            prop_assert!(counter(ms + 1) >= counter(ms));
        }

        #[test]
        fn the_percentile_is_within_a_64th_of_the_true_one(
            mut waits_ms in vec(0_i64..400_000_000, 1..200),
            percent in 1_u64..=100,
        ) {
            let mut waits = Waits::default();
            waits_ms.iter().for_each(|ms| waits.add(SignedDuration::from_millis(*ms)));
            waits_ms.sort_unstable();
            let rank = (waits_ms.len() * percent as usize).div_ceil(100);
            let exact = waits_ms[rank - 1] as u64;
            let shown = waits.percentile_ms(percent).unwrap();
            prop_assert!(64 * shown.abs_diff(exact) <= exact, "{exact} ms is shown as {shown} ms");
            let mean = waits_ms.iter().sum::<i64>() / waits_ms.len() as i64;
            prop_assert_eq!(waits.mean_ms(), Some(mean as u64));
        }

        #[test]
        fn any_order_gives_the_same_figures_and_nothing_is_left_out(
            batches in vec((state(), vec(-50_i64..100_000, 1..8), 0_usize..3, proptest::option::of(400_u16..600)), 0..40),
        ) {
            let batches = batches.iter().enumerate();
            let mut batches: Vec<_> =
                batches.map(|(n, (state, waits, refused, error))| batch(n as u8, *state, waits, *refused, *error)).collect();
            let figures = |batches: &[Batch]| {
                let mut statistics = Statistics::default();
                batches.iter().for_each(|batch| statistics.add(batch));
                statistics.figures(None)
            };
            let forwards = figures(&batches);
            batches.reverse();
            prop_assert_eq!(&forwards, &figures(&batches));
            let sent = batches.iter().filter(|batch| batch.state == BatchState::Confirmed);
            let messages: usize = sent.map(|batch| batch.members.len() - batch.refused.len()).sum();
            prop_assert_eq!(forwards.messages, messages as u64);
            let tombs = batches.iter().filter(|batch| batch.state == BatchState::Abandoned).count();
            prop_assert_eq!(forwards.requests, (batches.len() - tombs) as u64);
        }
    }
}
