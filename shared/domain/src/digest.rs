//! Digests in hex.

use sha2::{Digest, Sha256};

/// The SHA-256 of some bytes in hex, e.g. of a request that an Idempotency-Key stands for.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
