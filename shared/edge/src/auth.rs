//! Authentication of callers: several named clients, each known by the SHA-256 of its key.
//!
//! The configuration holds hashes only. A key is 256 random bits, so a plain hash is enough. A key
//! is compared with every client's in constant time, so that the time of an answer reveals nothing.

use domain::message::Message;
use lambda_http::http::HeaderMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{Config, ConfigError};
use crate::problem::Problem;

const CLIENTS: &str = "CLIENTS";
const HEADER: &str = "X-API-Key";

/// The clients that may call.
pub struct Clients(Vec<(Client, [u8; 32])>);

/// A client, i.e. a service that calls or an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub name: String,
    /// An operator sees all clients' messages, and may call the paths for operators only.
    pub operator: bool,
}

/// One entry of `CLIENTS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    key_sha256: String,
    #[serde(default)]
    operator: bool,
}

impl Client {
    /// A client sees its own messages, and an operator sees all.
    pub fn may_see(&self, message: &Message) -> bool {
        self.operator || message.client == self.name
    }
}

impl Clients {
    /// Reads `CLIENTS`, a list of clients in JSON:
    ///
    /// `[{"name": "shop", "key_sha256": "<64 hex digits>", "operator": false}]`
    pub fn read<F: Fn(&str) -> Option<String>>(config: &Config<F>) -> Result<Self, ConfigError> {
        let entries: Vec<Entry> = config.json(CLIENTS)?;
        let clients = entries.into_iter().map(Entry::read);
        Ok(Self(clients.collect::<Result<_, _>>()?))
    }

    /// Returns the client whose key the call carries.
    pub fn identify(&self, headers: &HeaderMap) -> Result<&Client, Problem> {
        let key = headers
            .get(HEADER)
            .map(|value| value.as_bytes())
            .unwrap_or_default();
        let hash: [u8; 32] = Sha256::digest(key).into();
        // All clients are compared, whichever one is found.
        let known = self.0.iter().fold(None, |known, (client, expected)| {
            match bool::from(hash.ct_eq(expected)) {
                true => Some(client),
                false => known,
            }
        });
        known.ok_or(Problem::Unauthorised {
            header: HEADER,
            detail: "Unauthorised key",
        })
    }

    /// Returns the client whose key the call carries, if it is an operator.
    pub fn identify_operator(&self, headers: &HeaderMap) -> Result<&Client, Problem> {
        let client = self.identify(headers)?;
        if client.operator {
            Ok(client)
        } else {
            Err(Problem::OperatorsOnly)
        }
    }
}

impl Entry {
    fn read(self) -> Result<(Client, [u8; 32]), ConfigError> {
        let Self {
            name,
            key_sha256,
            operator,
        } = self;
        // A '#' separates a client's name from its key in table Idempotency.
        if name.is_empty() || name.contains('#') {
            let problem = "a name must not be empty or hold a '#'";
            return Err(ConfigError::new(CLIENTS, problem));
        }
        let Some(hash) = hash_of_hex(&key_sha256) else {
            let problem = format!("key_sha256 of {name} must be 64 hex digits");
            return Err(ConfigError::new(CLIENTS, problem));
        };
        Ok((Client { name, operator }, hash))
    }
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
    use domain::digest::sha256_hex;

    use super::*;

    fn clients(json: String) -> Result<Clients, ConfigError> {
        Clients::read(&Config::new(move |_: &str| Some(json.clone())))
    }

    #[test]
    fn a_key_finds_its_client_and_no_other_key_does() {
        let shop = format!(
            r#"[{{"name":"shop","key_sha256":"{}"}}]"#,
            sha256_hex(b"open sesame")
        );
        let clients = clients(shop).unwrap();
        let with =
            |key: &str| HeaderMap::from_iter([(HEADER.parse().unwrap(), key.parse().unwrap())]);
        assert_eq!(clients.identify(&with("open sesame")).unwrap().name, "shop");
        assert!(clients.identify(&with("open sesam")).is_err());
        assert!(clients.identify(&with("")).is_err());
        assert!(clients.identify(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_malformed_client_is_refused_by_name() {
        let error = clients(r#"[{"name":"shop","key_sha256":"abc"}]"#.into())
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "configuration CLIENTS: key_sha256 of shop must be 64 hex digits"
        );
    }
}
