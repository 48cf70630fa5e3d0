//! The rate limit: how the requests of many dispatchers keep to what a provider allows.
//!
//! A [provider's state](crate::provider_state) holds `next_at`, the moment from which the next
//! request may be sent. Taking a slot moves it on, so two dispatchers never hold the same slot. A
//! slot is good for [`SLOT_VALID_MS`] only: a dispatcher that stalls for longer takes another one.
//! Slots are apart by the interval of the rate, that validity, and [`TO_PROVIDER_MS`], so even the
//! latest use of one slot and the earliest use of the next keep the rate at the provider.

use jiff::{SignedDuration, Timestamp};

/// How long after its moment a slot may be used, in milliseconds: enough for an invocation that is
/// not stalled.
const SLOT_VALID_MS: i64 = 80;
/// How much longer one request may take than the next from the check of its slot to the provider,
/// in milliseconds: most of it is the connection.
const TO_PROVIDER_MS: i64 = 20;

/// The rate that a provider allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    interval: SignedDuration,
}

/// A moment at which its holder, and no other dispatcher, may send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    at: Timestamp,
}

impl RateLimit {
    /// A limit of `rate_per_s` requests a second.
    pub fn new(rate_per_s: f64) -> Self {
        let interval = SignedDuration::from_secs_f64(1.0 / rate_per_s);
        Self {
            interval: interval + SignedDuration::from_millis(SLOT_VALID_MS + TO_PROVIDER_MS),
        }
    }

    /// The time between two slots.
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }
}

impl Slot {
    pub fn new(at: Timestamp) -> Self {
        Self { at }
    }

    /// How long its holder has to wait; zero once its moment has come.
    pub fn wait(&self, now: Timestamp) -> SignedDuration {
        self.at.duration_since(now).max(SignedDuration::ZERO)
    }

    /// It may still be used.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now <= self.at + SignedDuration::from_millis(SLOT_VALID_MS)
    }
}
