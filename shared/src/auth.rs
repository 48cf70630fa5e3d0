//! Who calls: several named clients, each known by the SHA-256 of its key.
//!
//! The configuration holds hashes only. A key is 256 bits of chance, so a plain hash is enough; every client is
//! compared, in constant time, so that an answer's delay tells nothing.

use lambda_http::http::HeaderMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{Refused, Source, refused};
use crate::http::Problem;
use crate::message::Message;

const HEADER: &str = "X-API-Key";

/// Those who may call.
pub struct Clients(Vec<(Client, [u8; 32])>);

/// One caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub name: String,
    /// Sees everybody's messages, not only its own.
    pub operator: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    key_sha256: String,
    #[serde(default)]
    operator: bool,
}

impl Client {
    /// Its own messages, or, as an operator, everybody's.
    pub fn may_see(&self, message: &Message) -> bool {
        self.operator || message.client == self.name
    }
}

impl Clients {
    /// Reads the key `CLIENTS`: `[{"name": "shop", "key_sha256": "<64 hex digits>", "operator": false}]`.
    pub fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>) -> Result<Self, Refused> {
        let entries: Vec<Entry> = source.json("CLIENTS")?;
        let read = |Entry { name, key_sha256, operator }: Entry| {
            // A '#' parts the client's name from its key in table Idempotency.
            if name.is_empty() || name.contains('#') {
                return Err(refused("CLIENTS", "a name must not be empty or hold a '#'"));
            }
            let hash = hash_of_hex(&key_sha256)
                .ok_or_else(|| refused("CLIENTS", format!("key_sha256 of {name} must be 64 hex digits")))?;
            Ok((Client { name, operator }, hash))
        };
        Ok(Self(entries.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// The client whose key the call carries.
    pub fn identify(&self, headers: &HeaderMap) -> Result<&Client, Problem> {
        let key = headers.get(HEADER).map(|value| value.as_bytes()).unwrap_or_default();
        let hash: [u8; 32] = Sha256::digest(key).into();
        let known = self.0.iter().fold(None, |known, (client, expected)| match bool::from(hash.ct_eq(expected)) {
            true => Some(client),
            false => known,
        });
        known.ok_or(Problem::Unauthorised { header: HEADER, detail: "Unauthorised key" })
    }

    /// The operator whose key the call carries.
    pub fn identify_operator(&self, headers: &HeaderMap) -> Result<&Client, Problem> {
        let client = self.identify(headers)?;
        if client.operator { Ok(client) } else { Err(Problem::OperatorsOnly) }
    }
}

/// The SHA-256 of some bytes in hex, e.g. of a request that an Idempotency-Key stands for.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_of_hex(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (n, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(json: String) -> Result<Clients, Refused> {
        Clients::read(&Source::new(move |_: &str| Some(json.clone())))
    }

    #[test]
    fn a_key_finds_its_client_and_no_other_key_does() {
        let shop = format!(r#"[{{"name":"shop","key_sha256":"{}"}}]"#, sha256_hex(b"open sesame"));
        let clients = clients(shop).unwrap();
        let with = |key: &str| HeaderMap::from_iter([(HEADER.parse().unwrap(), key.parse().unwrap())]);
        assert_eq!(clients.identify(&with("open sesame")).unwrap().name, "shop");
        assert!(clients.identify(&with("open sesam")).is_err());
        assert!(clients.identify(&with("")).is_err());
        assert!(clients.identify(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_malformed_client_is_refused_by_name() {
        let error = clients(r#"[{"name":"shop","key_sha256":"abc"}]"#.into()).err().unwrap();
        assert_eq!(error.to_string(), "configuration CLIENTS: key_sha256 of shop must be 64 hex digits");
    }
}
