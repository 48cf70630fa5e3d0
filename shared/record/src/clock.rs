//! Time and randomness. They enter the product only here; code that
//! decides takes them as arguments.

use domain::id::{BatchId, Id, MessageId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::crash;

/// How far another host's clock may run ahead of ours. Reads reach that far beyond now, so that a
/// message made by such a host is found. Hosts on AWS differ by milliseconds, and a wider key range
/// costs nothing, so this is generous.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Now, cut to the millisecond, which is what ids and the record hold.
pub fn now() -> Timestamp {
    let now = Timestamp::now() + crash::skew("clocks");
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// A new message's id.
pub fn message_id() -> MessageId {
    Id::new(now(), random_bytes())
}

/// A new batch's id.
pub fn batch_id() -> BatchId {
    Id::new(now(), random_bytes())
}

/// A new name for the owner of a batch or the writer of an item. No two calls return the same.
pub fn token() -> String {
    Uuid::now_v7().to_string()
}

/// A random time between half of `time` and all of it, so that processes that fail
/// together do not try again together.
pub fn jittered(time: SignedDuration) -> SignedDuration {
    let [.., byte] = random_bytes();
    time / 2 + time * i32::from(byte) / 512
}

fn random_bytes() -> [u8; 10] {
    let mut bytes = [0; 10];
    // The tail of a UUIDv7 holds a counter, so no two ids of this process are equal, and random
    // bits. `Id::new` overwrites the fixed bits of version and variant.
    bytes.copy_from_slice(&Uuid::now_v7().as_bytes()[6..]);
    bytes
}
