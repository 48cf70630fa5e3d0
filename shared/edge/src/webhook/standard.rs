//! Signatures by the rules of Standard Webhooks.
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
use crate::problem::Problem;

/// The furthest that a call's timestamp may be from now, in seconds. Beyond this a call may be a
/// replay. The specification's own libraries use the same.
const TOLERANCE_S: i64 = 5 * 60;
/// The shortest secret that the specification allows, in bytes.
const SECRET_BYTES_MIN: usize = 24;

/// The secrets of a provider that signs by Standard Webhooks.
pub struct Signers(Vec<Vec<u8>>);

impl Signers {
    /// Parses secrets of the form `whsec_<base64>`.
    pub(super) fn parse(secrets: &[&str]) -> Result<Self, String> {
        let secret = |text: &&str| {
            let base64 = text
                .strip_prefix("whsec_")
                .ok_or("a secret must begin with whsec_")?;
            let secret = STANDARD
                .decode(base64)
                .ok()
                .filter(|secret| secret.len() >= SECRET_BYTES_MIN);
            secret.ok_or_else(|| {
                format!("a secret must be base64 of {SECRET_BYTES_MIN} bytes or more after whsec_")
            })
        };
        secrets
            .iter()
            .map(secret)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Verifies that one of these signers signed the body, within the tolerance from `now`.
    /// Returns the names of those it can be.
    pub(super) fn verify_any<'a>(
        signers: impl Iterator<Item = (&'a str, &'a Signers)>,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<&'a str>, Problem> {
        let (id, at) = (
            header(headers, "webhook-id")?,
            header(headers, "webhook-timestamp")?,
        );
        let signatures = header(headers, "webhook-signature")?;
        let seconds: i64 = at
            .parse()
            .map_err(|_| unauthorised("webhook-timestamp", "Must be a Unix time in seconds"))?;
        if now.as_second().saturating_sub(seconds).unsigned_abs() > TOLERANCE_S.unsigned_abs() {
            return Err(unauthorised(
                "webhook-timestamp",
                "Is more than 5 minutes away from now",
            ));
        }
        let signed = [id.as_bytes(), b".", at.as_bytes(), b".", body].concat();
        let given = signatures
            .split(' ')
            .filter_map(|one| one.strip_prefix("v1,"));
        let given: Vec<_> = given.filter_map(|one| STANDARD.decode(one).ok()).collect();
        let signed_by = |secret: &Vec<u8>| {
            given
                .iter()
                .any(|signature| is_signed(secret, &signed, signature))
        };
        let by: Vec<_> = signers
            .filter(|(_, one)| one.0.iter().any(signed_by))
            .map(|(name, _)| name)
            .collect();
        if by.is_empty() {
            Err(unauthorised(
                "webhook-signature",
                "No signature fits the body",
            ))
        } else {
            Ok(by)
        }
    }
}

fn is_signed(secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    // `verify_slice` compares in constant time.
    Hmac::<Sha256>::new_from_slice(secret)
        .is_ok_and(|mac| mac.chain_update(signed).verify_slice(signature).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::provider::Protocol;

    use super::*;
    use crate::webhook::WebhookVerifier;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const AT: &str = "1614265330";

    fn verify(secrets: &str, signature: &str, now_s: i64) -> Result<Vec<String>, Problem> {
        let verifier = WebhookVerifier::parse(Protocol::Fastsmsing, secrets).unwrap();
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", AT),
            ("webhook-signature", signature),
        ];
        let headers = HeaderMap::from_iter(
            headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())),
        );
        let verifiers: BTreeMap<_, _> = [
            (
                "other".to_owned(),
                WebhookVerifier::parse(Protocol::Fastsmsing, STRANGER).unwrap(),
            ),
            ("one".to_owned(), verifier),
        ]
        .into();
        let by = WebhookVerifier::verify_any(
            &verifiers,
            &headers,
            BODY,
            Timestamp::from_second(now_s).unwrap(),
        )?;
        Ok(by.into_iter().map(str::to_owned).collect())
    }

    const STRANGER: &str = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
    // The example that the specification's own libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_example_is_accepted() {
        assert_eq!(verify(SECRET, SIGNATURE, 1_614_265_330).unwrap(), ["one"]);
        verify(
            &format!("{OTHER} {SECRET}"),
            &format!("v1,AAAA {SIGNATURE}"),
            1_614_265_330,
        )
        .unwrap();
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
