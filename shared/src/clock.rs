//! Time and chance, the only place they come from: what decides takes them as arguments.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::crash;
use crate::id::{BatchId, Id, MessageId};

/// A sender's clock may run ahead of ours by this much: what it made is looked for that far ahead of now.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Now, to the millisecond that ids and the record hold.
pub fn now() -> Timestamp {
    let now = Timestamp::now() + crash::skew("clocks");
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// A new message's id.
pub fn message_id() -> MessageId {
    Id::new(now(), chance())
}

/// A new batch's id.
pub fn batch_id() -> BatchId {
    Id::new(now(), chance())
}

/// A name that nobody else has.
pub fn token() -> String {
    Uuid::now_v7().to_string()
}

/// Half of `time` and a random part of the other half, so that those who failed together don't return together.
pub fn jittered(time: SignedDuration) -> SignedDuration {
    let [.., byte] = chance();
    time / 2 + time * i32::from(byte) / 512
}

fn chance() -> [u8; 10] {
    let mut chance = [0; 10];
    // The tail of a UUIDv7: a counter that no two ids of this process share, random bits, and fixed ones that
    // `Id::new` overwrites.
    chance.copy_from_slice(&Uuid::now_v7().as_bytes()[6..]);
    chance
}
