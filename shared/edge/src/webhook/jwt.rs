//! The JSON Web Tokens by which MessageBird authenticates its calls.
//!
//! `MessageBird-Signature-JWT` holds a token, signed with HS256 and the account's signing key,
//! whose claims are about this very call: `url_hash` is the SHA-256 of its whole address,
//! `payload_hash` that of its body if it has one, and the call is valid from `nbf` until `exp`, in
//! seconds. The `jti` is not remembered, because a repeated report says nothing new. Sources: RFC
//! 7519 and MessageBird's public description of signed requests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::digest::sha256_hex;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use lambda_http::http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{header, unauthorised};
use crate::problem::Problem;

const HEADER: &str = "MessageBird-Signature-JWT";
const ISSUER: &str = "MessageBird";
/// The only algorithm that is accepted. A token must not choose how it is verified.
const ALGORITHM: &str = "HS256";
/// The shortest key, in bytes: a shorter one could be guessed. MessageBird's have 32 or more.
const KEY_BYTES_MIN: usize = 16;
/// How far the clocks of the two sides may differ, in seconds.
const LEEWAY_S: i64 = 10;

/// One or two signing keys, as the account's settings show them.
pub struct SigningKeys(Vec<Vec<u8>>);

#[derive(Deserialize)]
struct Head {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    nbf: i64,
    exp: i64,
    url_hash: String,
    payload_hash: Option<String>,
}

impl SigningKeys {
    /// Takes the keys as they are. The error says what is wrong and quotes no key.
    pub(super) fn parse(keys: &[&str]) -> Result<Self, String> {
        let key = |key: &&str| match key.len() {
            KEY_BYTES_MIN.. => Ok(key.as_bytes().to_vec()),
            _ => Err(format!(
                "a signing key must have {KEY_BYTES_MIN} bytes or more"
            )),
        };
        keys.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Verifies that the holder of a key made this call, to the whole address `url` and with this
    /// body, and that it is valid `now`.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        url: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Problem> {
        let claims = self
            .claims(header(headers, HEADER)?)
            .ok_or_else(|| wrong("No key signed this token"))?;
        let now_s = now.as_second();
        if claims.iss != ISSUER {
            return Err(wrong("Is the token of another issuer"));
        }
        if now_s < claims.nbf.saturating_sub(LEEWAY_S)
            || now_s >= claims.exp.saturating_add(LEEWAY_S)
        {
            return Err(wrong("Is not valid at this time"));
        }
        if !is_hash(&claims.url_hash, url.as_bytes()) {
            return Err(wrong("Is about another address"));
        }
        match claims.payload_hash {
            Some(hash) if is_hash(&hash, body) => Ok(()),
            None if body.is_empty() => Ok(()),
            _ => Err(wrong("Is about another body")),
        }
    }

    /// The claims of a token that is signed with one of the keys.
    fn claims(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_known = part::<Head>(head)?.alg == ALGORITHM
            && self.0.iter().any(|key| is_signed(key, signed, &signature));
        if is_known { part(claims) } else { None }
    }
}

fn is_signed(key: &[u8], signed: &str, signature: &[u8]) -> bool {
    // `verify_slice` compares in constant time.
    Hmac::<Sha256>::new_from_slice(key)
        .is_ok_and(|mac| mac.chain_update(signed).verify_slice(signature).is_ok())
}

/// `hash` is the SHA-256 of `bytes`, in hex.
fn is_hash(hash: &str, bytes: &[u8]) -> bool {
    sha256_hex(bytes)
        .as_bytes()
        .ct_eq(hash.to_ascii_lowercase().as_bytes())
        .into()
}

/// Decodes one part of a token.
fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

fn wrong(detail: &'static str) -> Problem {
    unauthorised(HEADER, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    // The example in the tests of MessageBird's own libraries, valid for one minute of 2021.
    const KEY: &str = "36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebb";
    const ANOTHER: &str = "sixteen-bytes-it";
    const URL: &str = "https://example.com/path?bar=1&foo=2";
    const BODY: &[u8] = b"Hello, World!";
    const FROM_S: i64 = 1_625_479_200;
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJNZXNzYWdlQmlyZCIsIm5iZiI6MTYyNTQ3OTIwMCwiZXhwIjo\
                         xNjI1NDc5MjYwLCJqdGkiOiI5M2U1NTAwNi1hMGU4LTQ1MjYtYTE5MC1mYTVmZjAwZWExMTYiLCJ1cmxfaGFzaCI6IjQxZjA1Z\
                         jBkZGQwYTIyYWIyMDlhYzQ2ZjQ3YzQ1NzJkOWNlZmEyNTdlZDc0YjI0MDA0YmFlNzUzZWNlNmMyNjAiLCJwYXlsb2FkX2hhc2g\
                         iOiJkZmZkNjAyMWJiMmJkNWIwYWY2NzYyOTA4MDllYzNhNTMxOTFkZDgxYzdmNzBhNGIyODY4OGEzNjIxODI5ODZmIn0._H--T\
                         OuYFLpeEH39-rg5E3IHVkjHozBcaKVWPRC5m9I";

    fn verify(
        keys: &[&str],
        token: &str,
        url: &str,
        body: &[u8],
        now_s: i64,
    ) -> Result<(), Problem> {
        let headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), token.parse().unwrap())]);
        SigningKeys::parse(keys).unwrap().verify(
            &headers,
            url,
            body,
            Timestamp::from_second(now_s).unwrap(),
        )
    }

    fn token(head: &Value, claims: &Value) -> String {
        let signed = [head, claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes())
            .unwrap()
            .chain_update(&signed);
        format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        )
    }

    #[test]
    fn the_published_example_is_accepted_in_its_minute() {
        verify(&[KEY], TOKEN, URL, BODY, FROM_S).unwrap();
        verify(&[ANOTHER, KEY], TOKEN, URL, BODY, FROM_S + 59).unwrap();
        for now_s in [FROM_S - LEEWAY_S - 1, FROM_S + 60 + LEEWAY_S] {
            assert!(verify(&[KEY], TOKEN, URL, BODY, now_s).is_err());
        }
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused() {
        for keys in [vec!["k"], vec![KEY, &ANOTHER[1..]]] {
            assert!(
                SigningKeys::parse(&keys)
                    .err()
                    .unwrap()
                    .contains("16 bytes or more"),
                "{keys:?}"
            );
        }
    }

    #[test]
    fn another_key_address_body_or_token_is_not() {
        assert!(verify(&[ANOTHER], TOKEN, URL, BODY, FROM_S).is_err());
        assert!(
            verify(
                &[KEY],
                TOKEN,
                "https://example.com/path?bar=1&foo=3",
                BODY,
                FROM_S
            )
            .is_err()
        );
        assert!(verify(&[KEY], TOKEN, URL, b"Hello, world!", FROM_S).is_err());
        assert!(verify(&[KEY], TOKEN, URL, b"", FROM_S).is_err());
        assert!(verify(&[KEY], &TOKEN[..TOKEN.len() - 1], URL, BODY, FROM_S).is_err());
        for token in ["", ".", "..", "a.b.c", &TOKEN[..50]] {
            assert!(verify(&[KEY], token, URL, BODY, FROM_S).is_err(), "{token}");
        }
    }

    #[test]
    fn a_token_chooses_neither_its_algorithm_nor_its_issuer_nor_what_it_is_about() {
        let (head, claims) = (
            json!({"alg": "HS256"}),
            json!({
                "iss": "MessageBird", "nbf": FROM_S, "exp": FROM_S + 60,
                "url_hash": sha256_hex(URL.as_bytes()),
            }),
        );
        verify(&[KEY], &token(&head, &claims), URL, b"", FROM_S).unwrap();
        assert!(
            verify(&[KEY], &token(&head, &claims), URL, BODY, FROM_S).is_err(),
            "an unsigned body"
        );
        for alg in ["none", "HS512", "hs256"] {
            assert!(
                verify(
                    &[KEY],
                    &token(&json!({"alg": alg}), &claims),
                    URL,
                    b"",
                    FROM_S
                )
                .is_err(),
                "{alg}"
            );
        }
        for (claim, value) in [
            ("iss", json!("Another")),
            ("exp", json!(null)),
            ("nbf", json!("soon")),
            ("url_hash", json!("")),
        ] {
            let mut claims = claims.clone();
            claims[claim] = value;
            assert!(
                verify(&[KEY], &token(&head, &claims), URL, b"", FROM_S).is_err(),
                "{claim}"
            );
        }
        let unsigned = token(&json!({"alg": "none"}), &claims);
        let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
        assert!(verify(&[KEY], unsigned, URL, b"", FROM_S).is_err());
    }
}
