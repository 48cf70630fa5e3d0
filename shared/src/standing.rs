//! A provider's standing: its pace, its breaker and its share, which one conditional write moves together.
//!
//! *Pace.* `next_at` is the moment from which the next request may be sent; taking a slot moves it on, so two
//! dispatchers never hold the same one.
//!
//! *Breaker.* Failures in a row open it for a while. Then one dispatcher probes, with a batch like any other: its
//! slot closes the breaker behind it to everybody else, until the probe's answer opens or closes it for all.
//!
//! *Share.* `assigned` counts the batches that were given a slot. The next one goes to the provider that is
//! furthest below its share, and whoever is far behind, having been away, begins about where the others are: it is not
//! flooded.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::pace::{Pace, Slot};

/// A slot further away than this is not worth waiting for: the bells go back instead.
const WAIT_MAX: SignedDuration = SignedDuration::from_secs(10);

/// A courier that claims for longer than this has died.
const CLAIMING_MAX: SignedDuration = SignedDuration::from_secs(3);

/// Rounds that a provider may be behind before it is levelled: chance alone makes it no more than one.
const LAG_MAX: u64 = 2;

/// What the record holds of a provider. Writes are compared with `version`, so nothing is counted twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub name: String,
    #[serde(default)]
    pub version: u64,
    /// Who wrote this version: a repeat after a lost answer finds its own name here.
    #[serde(default)]
    pub written_by: String,
    /// From when its next request may be sent.
    #[serde(default, with = "jiff::fmt::serde::timestamp::millisecond::optional")]
    pub next_at: Option<Timestamp>,
    /// Failures since its last answer that was none.
    #[serde(default)]
    pub failures: u32,
    /// Its breaker is open until then; after that, the next batch is a probe.
    #[serde(default, with = "jiff::fmt::serde::timestamp::millisecond::optional")]
    pub open_until: Option<Timestamp>,
    /// Since when nothing is known to have got through.
    #[serde(default, with = "jiff::fmt::serde::timestamp::millisecond::optional")]
    pub open_since: Option<Timestamp>,
    /// Batches that were given a slot, in proportion to which the next one is given.
    #[serde(default)]
    pub assigned: u64,
}

/// What a provider allows, and how patient we are with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub pace: Pace,
    /// Failures in a row that open the breaker.
    pub failures_max: u32,
    /// How long it stays open.
    pub open: SignedDuration,
    /// A probe that was not answered after so long has died with its dispatcher.
    pub probe: SignedDuration,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A new batch, which counts for the share.
    Batch,
    /// Another attempt at a batch that was counted.
    Again,
    /// The attempt of whoever holds the probe, for which the breaker is not open.
    Probe,
}

impl Standing {
    /// One that was never written.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The next slot, and the standing after it is taken; or the moment before which there is none.
    pub fn take(&self, errand: Errand, terms: Terms, now: Timestamp) -> Result<(Self, Slot), Timestamp> {
        if let Some(until) = self.open_until.filter(|until| *until > now && errand != Errand::Probe) {
            return Err(until);
        }
        let at = self.next_at.map_or(now, |next_at| next_at.max(now));
        if at > now + WAIT_MAX {
            return Err(at);
        }
        let mut taken = self.clone();
        taken.next_at = Some(at + terms.pace.interval());
        taken.open_until = self.open_until.map(|_| at + terms.probe);
        taken.assigned += u64::from(errand == Errand::Batch);
        Ok((taken, Slot::new(at)))
    }

    /// The turn to claim, unless somebody has it. A clock that is far ahead must not keep it from the others.
    pub fn take_turn(&self, now: Timestamp) -> Option<Self> {
        let taken = self.next_at.is_some_and(|until| until > now && until <= now + CLAIMING_MAX);
        (!taken).then(|| Self { next_at: Some(now + CLAIMING_MAX), ..self.clone() })
    }

    /// The turn to claim is over.
    pub fn pass_on(&self, now: Timestamp) -> Self {
        Self { next_at: Some(now), ..self.clone() }
    }

    /// The slot of a batch was not used: it counts for no share.
    pub fn give_back(&self) -> Self {
        Self { assigned: self.assigned.saturating_sub(1), ..self.clone() }
    }

    /// Whoever held the probe did not make it: the next one may.
    pub fn hand_on(&self, now: Timestamp) -> Self {
        Self { open_until: self.open_until.map(|_| now), ..self.clone() }
    }

    /// A request failed.
    pub fn fail(&self, terms: Terms, now: Timestamp) -> Self {
        let failed = Self { failures: self.failures.saturating_add(1), ..self.clone() };
        if failed.failures >= terms.failures_max || self.open_until.is_some() {
            failed.open(terms, now)
        } else {
            failed
        }
    }

    /// No further request makes sense for a while.
    pub fn open(&self, terms: Terms, now: Timestamp) -> Self {
        let open_since = self.open_since.or(Some(now));
        Self { open_until: Some(now + terms.open), open_since, ..self.clone() }
    }

    /// A request was answered as it should be.
    pub fn succeed(&self) -> Self {
        Self { failures: 0, open_until: None, open_since: None, ..self.clone() }
    }

    /// The provider asked at `now` for a pause: no slot before `until`.
    pub fn pause(&self, until: Timestamp, now: Timestamp) -> Self {
        Self { next_at: self.next_at.max(Some(until)), open_since: self.open_since.or(Some(now)), ..self.clone() }
    }

    /// Its breaker is open; a probe under way counts as open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.open_until.is_some_and(|until| until > now)
    }
}

/// One provider's part in the share: batches so far, and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub assigned: u64,
    pub weight: u32,
}

/// The providers in the order in which the next batch is offered: the one furthest below its share first.
pub fn order(shares: &[Share]) -> Vec<usize> {
    let mut order: Vec<_> = (0..shares.len()).collect();
    // Stable: among equals, the one configured first. Compared crosswise, as fractions are, without rounding.
    order.sort_by_key(|&n| Fraction { top: shares[n].assigned, bottom: shares[n].weight });
    order
}

/// The shares, as far as the next choice goes: whoever was away, is new, or has another weight now may be far behind,
/// and would be flooded. It begins one round behind the furthest.
pub fn levelled(shares: &[Share]) -> Vec<Share> {
    let furthest = shares.iter().map(|one| Fraction { top: one.assigned, bottom: one.weight }).max();
    let Some(furthest) = furthest else { return Vec::new() };
    let level = |&Share { assigned, weight }: &Share| {
        let level = u128::from(furthest.top) * u128::from(weight) / u128::from(furthest.bottom.max(1));
        let level = u64::try_from(level).unwrap_or(u64::MAX);
        let is_far_behind = assigned + LAG_MAX * u64::from(weight) < level;
        Share { assigned: if is_far_behind { level - u64::from(weight) } else { assigned }, weight }
    };
    shares.iter().map(level).collect()
}

struct Fraction {
    top: u64,
    bottom: u32,
}

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let cross = |a: &Self, b: &Self| u128::from(a.top) * u128::from(b.bottom);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fraction {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fraction {}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn terms(rate_per_s: f64) -> Terms {
        let (open, probe) = (SignedDuration::from_secs(30), SignedDuration::from_secs(15));
        Terms { pace: Pace::new(rate_per_s), failures_max: 5, open, probe }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_262_400 + second).unwrap()
    }

    fn take(standing: &Standing, now: Timestamp) -> Result<(Standing, Slot), Timestamp> {
        standing.take(Errand::Batch, terms(1.0), now)
    }

    #[test]
    fn five_failures_open_it_and_one_probe_closes_it_or_opens_it_again() {
        let failed = |count| (0..count).fold(Standing::new("a"), |standing, _| standing.fail(terms(1.0), second(0)));
        assert!(take(&failed(4), second(0)).is_ok());
        assert_eq!(take(&failed(5), second(29)).unwrap_err(), second(30));

        let (probed, _) = take(&failed(5), second(30)).unwrap();
        assert_eq!(take(&probed, second(31)).unwrap_err(), second(45), "one probe at a time");
        assert!(probed.take(Errand::Probe, terms(1.0), second(32)).is_ok(), "its holder may be late");
        assert!(take(&probed.hand_on(second(32)), second(32)).is_ok());
        assert_eq!(take(&probed.fail(terms(1.0), second(32)), second(33)).unwrap_err(), second(62));
        let mended = probed.succeed();
        assert!(mended.failures == 0 && mended.open_since.is_none() && take(&mended, second(33)).is_ok());
    }

    #[test]
    fn one_claims_at_a_time_until_it_passes_on_or_is_dead() {
        let taken = Standing::new("#").take_turn(second(0)).unwrap();
        assert!(taken.take_turn(second(1)).is_none());
        assert!(taken.pass_on(second(1)).take_turn(second(1)).is_some());
        assert!(taken.take_turn(second(3)).is_some());
        assert!(taken.take_turn(second(-60)).is_some(), "whoever is a minute ahead keeps nobody waiting");
    }

    proptest! {
        /// However dispatchers come, no two slots are closer than the interval.
        #[test]
        fn slots_keep_the_interval(pauses_ms in vec(0_i64..3_000, 2..50), rate in 1_u32..50) {
            let terms = terms(f64::from(rate));
            let (mut standing, mut now, mut last) = (Standing::new("a"), second(0), None);
            for pause_ms in pauses_ms {
                now += SignedDuration::from_millis(pause_ms);
                match standing.take(Errand::Batch, terms, now) {
                    Ok((taken, slot)) => {
                        let at = now + slot.wait(now);
                        prop_assert!(last.is_none_or(|last| at >= last + terms.pace.interval()));
                        (standing, last) = (taken, Some(at));
                    }
                    Err(moment) => prop_assert!(moment > now + WAIT_MAX),
                }
            }
        }

        /// Whatever the weights, no provider is ever more than one batch away from its share.
        #[test]
        fn shares_differ_by_at_most_one_batch(weights in vec(1_u32..8, 1..5), batches in 1_usize..300) {
            let mut shares: Vec<_> = weights.iter().map(|&weight| Share { assigned: 0, weight }).collect();
            for _ in 0..batches {
                let next = order(&shares)[0];
                shares[next].assigned += 1;
            }
            for (a, b) in shares.iter().flat_map(|a| shares.iter().map(move |b| (a, b))) {
                // One batch more than the other's share would allow, and no further.
                let (ahead, behind) = ((a.assigned as f64 - 1.0) / f64::from(a.weight), b.assigned as f64 / f64::from(b.weight));
                prop_assert!(ahead <= behind + 1e-9, "{shares:?}");
            }
        }

        /// However far behind one is, it is next, and gets no more than a round or two in a row.
        #[test]
        fn one_that_comes_back_is_not_flooded(assigned in vec(0_u64..100_000, 2..5), weights in vec(1_u32..8, 5)) {
            let mut shares: Vec<_> =
                assigned.iter().zip(weights).map(|(&assigned, weight)| Share { assigned, weight }).collect();
            let mut given = vec![0_u64; shares.len()];
            for _ in 0..100 {
                shares = levelled(&shares);
                let next = order(&shares)[0];
                shares[next].assigned += 1;
                given[next] += 1;
            }
            let per_weight = |n: usize| given[n] as f64 / f64::from(shares[n].weight);
            for (a, b) in (0..shares.len()).flat_map(|a| (0..shares.len()).map(move |b| (a, b))) {
                prop_assert!((per_weight(a) - per_weight(b)).abs() <= LAG_MAX as f64 + 1.0, "{given:?} {shares:?}");
            }
        }
    }
}
