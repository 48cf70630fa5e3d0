//! Signatures as Standard Webhooks asks for them.
//!
//! `webhook-signature` holds one or more `v1,<base64>`, each an HMAC-SHA256 of
//! `<webhook-id>.<webhook-timestamp>.<body>`. Source: the Standard Webhooks specification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use lambda_http::http::HeaderMap;
use sha2::Sha256;

use super::{header, unauthorised};
use crate::http::Problem;

/// A call whose timestamp is further away than this may be a replay.
const TOLERANCE_S: i64 = 5 * 60;
/// The specification's least length of a secret.
const SECRET_BYTES_MIN: usize = 24;

/// Those who hold these secrets.
pub struct Signers(Vec<Vec<u8>>);

impl Signers {
    /// Takes secrets of the form `whsec_<base64>`.
    pub(super) fn parse(secrets: &[&str]) -> Result<Self, String> {
        let secret = |text: &&str| {
            let base64 = text.strip_prefix("whsec_").ok_or("a secret must begin with whsec_")?;
            let secret = STANDARD.decode(base64).ok().filter(|secret| secret.len() >= SECRET_BYTES_MIN);
            secret.ok_or_else(|| format!("a secret must be base64 of {SECRET_BYTES_MIN} bytes or more behind whsec_"))
        };
        secrets.iter().map(secret).collect::<Result<_, _>>().map(Self)
    }

    /// Checks that the body comes from one of those who hold a secret, and lately; tells who that may be.
    pub(super) fn verify_any<'a>(
        signers: impl Iterator<Item = (&'a str, &'a Signers)>,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<&'a str>, Problem> {
        let (id, at) = (header(headers, "webhook-id")?, header(headers, "webhook-timestamp")?);
        let signatures = header(headers, "webhook-signature")?;
        let seconds: i64 =
            at.parse().map_err(|_| unauthorised("webhook-timestamp", "Must be a Unix time in seconds"))?;
        if now.as_second().saturating_sub(seconds).unsigned_abs() > TOLERANCE_S.unsigned_abs() {
            return Err(unauthorised("webhook-timestamp", "Is more than 5 minutes away from now"));
        }
        let signed = [id.as_bytes(), b".", at.as_bytes(), b".", body].concat();
        let given = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let given: Vec<_> = given.filter_map(|one| STANDARD.decode(one).ok()).collect();
        let signed_by = |secret: &Vec<u8>| given.iter().any(|signature| is_signed(secret, &signed, signature));
        let by: Vec<_> = signers.filter(|(_, one)| one.0.iter().any(signed_by)).map(|(name, _)| name).collect();
        if by.is_empty() { Err(unauthorised("webhook-signature", "No signature fits the body")) } else { Ok(by) }
    }
}

fn is_signed(secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    // The comparison takes the same time for every wrong signature.
    Hmac::<Sha256>::new_from_slice(secret).is_ok_and(|mac| mac.chain_update(signed).verify_slice(signature).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::provider::Protocol;
    use crate::webhook::Reporter;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const AT: &str = "1614265330";

    fn verify(secrets: &str, signature: &str, now_s: i64) -> Result<Vec<String>, Problem> {
        let reporter = Reporter::parse(Protocol::Fastsmsing, secrets).unwrap();
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", AT),
            ("webhook-signature", signature),
        ];
        let headers =
            HeaderMap::from_iter(headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())));
        let reporters: BTreeMap<_, _> = [
            ("other".to_owned(), Reporter::parse(Protocol::Fastsmsing, STRANGER).unwrap()),
            ("one".to_owned(), reporter),
        ]
        .into();
        let by = Reporter::verify_any(&reporters, &headers, BODY, Timestamp::from_second(now_s).unwrap())?;
        Ok(by.into_iter().map(str::to_owned).collect())
    }

    // The example that the specification's own libraries are tested with.
    const STRANGER: &str = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_example_is_taken() {
        assert_eq!(verify(SECRET, SIGNATURE, 1_614_265_330).unwrap(), ["one"]);
        verify(&format!("{OTHER} {SECRET}"), &format!("v1,AAAA {SIGNATURE}"), 1_614_265_330).unwrap();
    }

    #[test]
    fn another_secret_another_signature_and_another_time_are_not() {
        assert!(verify(OTHER, SIGNATURE, 1_614_265_330).is_err());
        assert!(verify(SECRET, "v1,AAAA", 1_614_265_330).is_err());
        assert!(verify(SECRET, &SIGNATURE.replace("v1,", "v2,"), 1_614_265_330).is_err());
        verify(SECRET, SIGNATURE, 1_614_265_630).unwrap();
        assert!(verify(SECRET, SIGNATURE, 1_614_265_631).is_err());
        assert!(verify(SECRET, SIGNATURE, 1_614_265_029).is_err());
    }
}
