//! Makes the tokens with which MessageBird signs its calls.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How long a token is valid.
const LIFETIME_S: i64 = 60;

/// A token that is not signed yet. A test may change its claims.
#[derive(Clone, Debug)]
pub struct Token {
    pub head: Value,
    pub claims: Value,
}

impl Token {
    /// A token for a call without a body, valid for a minute from this time on.
    pub fn about(url: &str, from_s: i64) -> Self {
        let url_hash: String = Sha256::digest(url)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (exp, jti) = (from_s + LIFETIME_S, Uuid::now_v7().to_string());
        Self {
            head: json!({"alg": "HS256", "typ": "JWT"}),
            claims: json!({
                "iss": "MessageBird",
                "nbf": from_s,
                "exp": exp,
                "jti": jti,
                "url_hash": url_hash,
            }),
        }
    }

    #[expect(clippy::expect_used, reason = "an HMAC takes keys of every length")]
    pub fn signed(&self, key: &str) -> String {
        let signed = [&self.head, &self.claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())
            .expect("a key")
            .chain_update(&signed);
        format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        )
    }
}
