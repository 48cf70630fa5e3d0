//! The pace: how requests of many dispatchers keep the provider's rate.
//!
//! A provider's [standing](crate::standing) holds `next_at`, the moment from which its next request may be sent. Taking
//! a slot moves it on, so two dispatchers never hold the same slot. A slot is only good for [`VALIDITY_MS`]: a
//! dispatcher that stalls takes another, and since the interval includes the validity, even the latest use of one slot
//! and the earliest of the next stay a full rate interval apart.

use jiff::{SignedDuration, Timestamp};

/// A slot may be used this long after its moment.
pub const VALIDITY_MS: i64 = 100;

/// A provider's pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    interval: SignedDuration,
}

/// A moment at which its holder, and nobody else, may send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    at: Timestamp,
}

impl Pace {
    /// The pace of `rate_per_s` requests a second.
    pub fn new(rate_per_s: f64) -> Self {
        let interval = SignedDuration::from_secs_f64(1.0 / rate_per_s);
        Self { interval: interval + SignedDuration::from_millis(VALIDITY_MS) }
    }

    /// Between two slots.
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }
}

impl Slot {
    pub fn new(at: Timestamp) -> Self {
        Self { at }
    }

    /// How long its holder has to sleep.
    pub fn wait(&self, now: Timestamp) -> SignedDuration {
        self.at.duration_since(now).max(SignedDuration::ZERO)
    }

    /// It may still be used.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now <= self.at + SignedDuration::from_millis(VALIDITY_MS)
    }
}
