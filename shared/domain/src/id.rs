//! Ids that carry their time.
//!
//! A message id is a UUIDv7, whose first 48 bits are the millisecond it was made. So the partition
//! of a message can be read from its id alone: reading one message is one GetItem, listing and
//! waiting are range queries, and there is no index to pay for.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid, Version};

/// Partitions of one day: together they take 16 × 1,000 writes a second before one is hot.
pub const SHARDS: u8 = 16;

/// A UUIDv7 of one kind of thing, so that a batch is never looked up as a message.
pub struct Id<Kind>(Uuid, PhantomData<fn() -> Kind>);

/// The kind of message ids.
pub enum MessageKind {}

/// The kind of batch ids.
pub enum BatchKind {}

/// The id of a message, for callers and providers alike.
pub type MessageId = Id<MessageKind>;

/// The id of a batch, which is also its idempotency key at the provider.
pub type BatchId = Id<BatchKind>;

/// Why a text is not the id of anything in the record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnId {
    /// Not a UUID, which is the caller's mistake.
    #[error("must be a UUID")]
    Malformed,
    /// A UUID that this product cannot have made, so nothing is recorded under it.
    #[error("is not an id of ours")]
    Foreign,
}

impl<Kind> Id<Kind> {
    /// The id made at `at`, to the millisecond, from random bytes.
    pub fn new(at: Timestamp, chance: [u8; 10]) -> Self {
        let millisecond = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let uuid = Builder::from_unix_timestamp_millis(millisecond, &chance).into_uuid();
        Self(uuid, PhantomData)
    }

    /// The smallest id that `at` can have: a bound for range queries.
    pub fn first_of(at: Timestamp) -> Self {
        Self::new(at, [0; 10])
    }

    /// The next smaller id: an upper bound that excludes this one.
    pub fn before(&self) -> Self {
        Self(
            Uuid::from_u128(self.0.as_u128().saturating_sub(1)),
            PhantomData,
        )
    }

    /// The next larger id: a lower bound that excludes this one.
    pub fn after(&self) -> Self {
        Self(
            Uuid::from_u128(self.0.as_u128().saturating_add(1)),
            PhantomData,
        )
    }

    /// When it was made, to the millisecond.
    pub fn created_at(&self) -> Timestamp {
        timestamp_of(&self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The UTC day it was made on.
    pub fn day(&self) -> Date {
        utc_day(self.created_at())
    }
}

impl MessageId {
    /// The partition of the message: its day and one of 16 shards, e.g. `2026-11-21#7`.
    pub fn day_shard(&self) -> String {
        day_shard(self.day(), self.0.as_bytes()[15] % SHARDS)
    }
}

/// The partition key of one shard of one day.
pub fn day_shard(day: Date, shard: u8) -> String {
    format!("{day}#{shard:x}")
}

/// The UTC day of a moment.
pub fn utc_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn timestamp_of(uuid: &Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = uuid.get_timestamp()?.to_unix();
    Timestamp::new(
        i64::try_from(seconds).ok()?,
        i32::try_from(nanoseconds).ok()?,
    )
    .ok()
}

impl<Kind> FromStr for Id<Kind> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let uuid = Uuid::try_parse(text).map_err(|_| NotAnId::Malformed)?;
        let ours = uuid.get_version() == Some(Version::SortRand) && timestamp_of(&uuid).is_some();
        if ours {
            Ok(Self(uuid, PhantomData))
        } else {
            Err(NotAnId::Foreign)
        }
    }
}

impl<Kind> fmt::Display for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<Kind> Serialize for Id<Kind> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, Kind> Deserialize<'de> for Id<Kind> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

// Written out because a derive would demand the same of `Kind`, which is only a marker.
impl<Kind> Clone for Id<Kind> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Kind> Copy for Id<Kind> {}
impl<Kind> fmt::Debug for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<Kind> PartialEq for Id<Kind> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<Kind> Eq for Id<Kind> {}
impl<Kind> PartialOrd for Id<Kind> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<Kind> Ord for Id<Kind> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<Kind> Hash for Id<Kind> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_says_when_it_was_made_and_where_it_is_kept(
            millisecond in 0_i64..253_402_207_200_000,
            chance: [u8; 10],
        ) {
            let at = Timestamp::from_millisecond(millisecond).unwrap();
            let id = MessageId::new(at, chance);
            prop_assert_eq!(id.created_at(), at);
            prop_assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
            prop_assert_eq!(id.day_shard(), day_shard(utc_day(at), chance[9] % SHARDS));
            prop_assert!(MessageId::first_of(at) <= id);
        }

        #[test]
        fn ids_sort_by_time(a in 0_i64..4_000_000_000_000, b in 0_i64..4_000_000_000_000, x: [u8; 10], y: [u8; 10]) {
            let id = |ms, chance| MessageId::new(Timestamp::from_millisecond(ms).unwrap(), chance);
            prop_assume!(a != b);
            prop_assert_eq!(a < b, id(a, x) < id(b, y));
            prop_assert_eq!(a < b, id(a, x).to_string() < id(b, y).to_string());
        }

        #[test]
        fn any_text_is_an_id_or_refused(text in ".{0,60}") {
            let _ = text.parse::<MessageId>();
        }
    }

    #[test]
    fn a_uuid_of_another_version_is_foreign_and_no_uuid_is_malformed() {
        let foreign = "9b2b3e5e-2f3c-4a53-8a1c-0d8a3f1f9a10".parse::<MessageId>();
        assert_eq!(foreign, Err(NotAnId::Foreign));
        assert_eq!("seven".parse::<MessageId>(), Err(NotAnId::Malformed));
    }
}
