//! What the record holds of a provider: its next slot, its circuit breaker and its share, which one
//! conditional write (W12) moves together.
//!
//! *Slots.* `next_at` is the moment from which the next request may be sent. Taking a slot moves it
//! on, so two dispatchers never hold the same one.
//!
//! *Breaker.* Failures in a row open it. Once its time is up, the next dispatcher to take a slot
//! sends a probe, and the breaker is half-open: everyone else waits for the probe's answer, which
//! closes it or opens it again.
//!
//! *Share.* `assigned` counts the batches that were given a slot; [`share`](crate::share) says who
//! is next.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::rate_limit::{RateLimit, Slot};

/// A slot further away than this is not worth waiting for: the bells go back instead.
const WAIT_MAX: SignedDuration = SignedDuration::from_secs(10);

/// How long a dispatcher may hold the claim lock: one that takes longer has been stopped.
const CLAIM_LOCK_MAX: SignedDuration = SignedDuration::from_secs(3);

/// One item of table Providers. Every write compares `version`, so nothing is counted twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderState {
    pub name: String,
    #[serde(default)]
    pub version: u64,
    /// The token of the write that made this version: a repeat after a lost answer finds its own
    /// token here.
    #[serde(default)]
    pub written_by: String,
    /// From when the next request may be sent.
    #[serde(default, with = "jiff::fmt::serde::timestamp::millisecond::optional")]
    pub next_at: Option<Timestamp>,
    /// Failures since the last answer that was not one.
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub breaker: Breaker,
    /// Since when no request is known to have got through.
    #[serde(default, with = "jiff::fmt::serde::timestamp::millisecond::optional")]
    pub open_since: Option<Timestamp>,
    /// Batches that were given a slot.
    #[serde(default)]
    pub assigned: u64,
}

/// A provider's circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Breaker {
    /// Requests flow.
    #[default]
    Closed,
    /// No request before `until`; the first one after it is a probe.
    Open {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        until: Timestamp,
    },
    /// A probe is under way. One that is not answered by `until` died with its dispatcher, and the
    /// next may probe.
    HalfOpen {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        until: Timestamp,
    },
}

/// What a provider allows, and how patient we are with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub rate: RateLimit,
    /// Failures in a row that open the breaker.
    pub failures_max: u32,
    /// How long the breaker stays open.
    pub open: SignedDuration,
    /// How long a probe may take from its slot to its recorded answer.
    pub probe: SignedDuration,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotPurpose {
    /// A new batch, which counts towards the share.
    Batch,
    /// Another attempt at a batch that was counted already.
    Retry,
    /// An attempt by the holder of the probe, whom the half-open breaker lets through.
    Probe,
}

impl Breaker {
    pub fn is_closed(self) -> bool {
        self == Breaker::Closed
    }

    /// The moment before which it lets no request through; none if it lets them through now.
    pub fn blocked_until(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Breaker::Closed => None,
            Breaker::Open { until } | Breaker::HalfOpen { until } => {
                Some(until).filter(|until| *until > now)
            }
        }
    }
}

impl ProviderState {
    /// The state of a provider that nothing is recorded of.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The next slot, and the state once it is taken. The error is the moment before which there is
    /// none.
    pub fn take_slot(
        &self,
        purpose: SlotPurpose,
        limits: Limits,
        now: Timestamp,
    ) -> Result<(Self, Slot), Timestamp> {
        if let Some(until) = self
            .breaker
            .blocked_until(now)
            .filter(|_| purpose != SlotPurpose::Probe)
        {
            return Err(until);
        }
        let at = self.next_at.map_or(now, |next_at| next_at.max(now));
        if at > now + WAIT_MAX {
            return Err(at);
        }
        let mut taken = self.clone();
        taken.next_at = Some(at + limits.rate.interval());
        if !self.breaker.is_closed() {
            taken.breaker = Breaker::HalfOpen {
                until: at + limits.probe,
            };
        }
        taken.assigned += u64::from(purpose == SlotPurpose::Batch);
        Ok((taken, Slot::new(at)))
    }

    /// The claim lock's item once it is taken; none while another dispatcher holds it. A lock that
    /// ends further ahead than one can last was written by a clock that is wrong, and is ignored.
    pub fn lock_claims(&self, now: Timestamp) -> Option<Self> {
        let held = self
            .next_at
            .is_some_and(|until| until > now && until <= now + CLAIM_LOCK_MAX);
        (!held).then(|| Self {
            next_at: Some(now + CLAIM_LOCK_MAX),
            ..self.clone()
        })
    }

    /// The claim lock's item once it is released.
    pub fn unlock_claims(&self, now: Timestamp) -> Self {
        Self {
            next_at: Some(now),
            ..self.clone()
        }
    }

    /// The slot of a batch was not used, so it does not count towards the share.
    pub fn give_back(&self) -> Self {
        Self {
            assigned: self.assigned.saturating_sub(1),
            ..self.clone()
        }
    }

    /// The holder of the probe did not send it, so the next dispatcher may.
    pub fn release_probe(&self, now: Timestamp) -> Self {
        let breaker = match self.breaker {
            Breaker::Closed => Breaker::Closed,
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => Breaker::Open { until: now },
        };
        Self {
            breaker,
            ..self.clone()
        }
    }

    /// A request failed.
    pub fn fail(&self, limits: Limits, now: Timestamp) -> Self {
        let failed = Self {
            failures: self.failures.saturating_add(1),
            ..self.clone()
        };
        if failed.failures >= limits.failures_max || !self.breaker.is_closed() {
            failed.open(limits, now)
        } else {
            failed
        }
    }

    /// The breaker opens: no further request makes sense for a while.
    pub fn open(&self, limits: Limits, now: Timestamp) -> Self {
        let open_since = self.open_since.or(Some(now));
        Self {
            breaker: Breaker::Open {
                until: now + limits.open,
            },
            open_since,
            ..self.clone()
        }
    }

    /// A request was answered as it should be.
    pub fn succeed(&self) -> Self {
        Self {
            failures: 0,
            breaker: Breaker::Closed,
            open_since: None,
            ..self.clone()
        }
    }

    /// The provider asked at `now` for a pause: there is no slot before `until`.
    pub fn pause(&self, until: Timestamp, now: Timestamp) -> Self {
        let open_since = self.open_since.or(Some(now));
        Self {
            next_at: self.next_at.max(Some(until)),
            open_since,
            ..self.clone()
        }
    }

    /// The breaker lets no request through; a probe under way counts as that.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.breaker.blocked_until(now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn limits(rate_per_s: f64) -> Limits {
        let (open, probe) = (SignedDuration::from_secs(30), SignedDuration::from_secs(15));
        Limits {
            rate: RateLimit::new(rate_per_s),
            failures_max: 5,
            open,
            probe,
        }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_262_400 + second).unwrap()
    }

    fn take(state: &ProviderState, now: Timestamp) -> Result<(ProviderState, Slot), Timestamp> {
        state.take_slot(SlotPurpose::Batch, limits(1.0), now)
    }

    #[test]
    fn five_failures_open_it_and_one_probe_closes_it_or_opens_it_again() {
        let failed = |count| {
            (0..count).fold(ProviderState::new("a"), |state, _| {
                state.fail(limits(1.0), second(0))
            })
        };
        assert!(take(&failed(4), second(0)).is_ok());
        assert_eq!(take(&failed(5), second(29)).unwrap_err(), second(30));

        let (probed, _) = take(&failed(5), second(30)).unwrap();
        assert_eq!(
            take(&probed, second(31)).unwrap_err(),
            second(45),
            "one probe at a time"
        );
        assert!(
            probed
                .take_slot(SlotPurpose::Probe, limits(1.0), second(32))
                .is_ok(),
            "its holder may be late"
        );
        assert!(take(&probed.release_probe(second(32)), second(32)).is_ok());
        assert_eq!(
            take(&probed.fail(limits(1.0), second(32)), second(33)).unwrap_err(),
            second(62)
        );
        let mended = probed.succeed();
        assert!(
            mended.failures == 0
                && mended.open_since.is_none()
                && take(&mended, second(33)).is_ok()
        );
    }

    #[test]
    fn one_claims_at_a_time_until_it_unlocks_or_is_dead() {
        let taken = ProviderState::new("#").lock_claims(second(0)).unwrap();
        assert!(taken.lock_claims(second(1)).is_none());
        assert!(
            taken
                .unlock_claims(second(1))
                .lock_claims(second(1))
                .is_some()
        );
        assert!(taken.lock_claims(second(3)).is_some());
        assert!(
            taken.lock_claims(second(-60)).is_some(),
            "a clock that is a minute ahead keeps no other dispatcher waiting"
        );
    }

    proptest! {
        /// However dispatchers come, no two slots are closer than the interval.
        #[test]
        fn slots_keep_the_interval(pauses_ms in vec(0_i64..3_000, 2..50), rate in 1_u32..50) {
            let limits = limits(f64::from(rate));
            let (mut state, mut now, mut last) = (ProviderState::new("a"), second(0), None);
            for pause_ms in pauses_ms {
                now += SignedDuration::from_millis(pause_ms);
                match state.take_slot(SlotPurpose::Batch, limits, now) {
                    Ok((taken, slot)) => {
                        let at = now + slot.wait(now);
                        prop_assert!(last.is_none_or(|last| at >= last + limits.rate.interval()));
                        (state, last) = (taken, Some(at));
                    }
                    Err(moment) => prop_assert!(moment > now + WAIT_MAX),
                }
            }
        }
    }
}
