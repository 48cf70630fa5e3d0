//! Authentication of the providers' reports, by the rules of each protocol.
//!
//! | `protocol` | a report is authenticated by |
//! |---|---|
//! | `fastsmsing` | [a signature over the body](standard), by the rules of Standard Webhooks |
//! | `messagebird` | [a JSON Web Token](jwt) about the address and the body |
//! | `callback` | [a token in the address](domain::callback_token), which we made when we sent the message |
//!
//! Two secrets can be valid at once, so that one can be replaced without losing a report.

pub mod jwt;
pub mod standard;

use std::collections::BTreeMap;

use domain::callback_token::CallbackKey;
use domain::provider::Protocol;
use jiff::Timestamp;
use lambda_http::http::HeaderMap;

use crate::problem::Problem;
use crate::webhook::jwt::SigningKeys;
use crate::webhook::standard::Signers;

/// Secrets of one provider: the current one, and during a rotation the old one.
const SECRETS_MAX: usize = 2;

/// The secrets that authenticate a provider's reports.
pub enum WebhookVerifier {
    Fastsmsing(Signers),
    Messagebird(SigningKeys),
    Callback(Vec<CallbackKey>),
}

impl WebhookVerifier {
    /// Parses a provider's `webhook_secrets`: one or two, separated by a space. The error says what
    /// is wrong and quotes no secret.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, String> {
        let secrets: Vec<_> = text.split_whitespace().collect();
        if !(1..=SECRETS_MAX).contains(&secrets.len()) {
            return Err(format!("must hold 1 to {SECRETS_MAX} secrets"));
        }
        Ok(match protocol {
            Protocol::Fastsmsing => Self::Fastsmsing(Signers::parse(&secrets)?),
            Protocol::Messagebird => Self::Messagebird(SigningKeys::parse(&secrets)?),
            Protocol::Callback => Self::Callback(
                secrets
                    .into_iter()
                    .map(CallbackKey::parse)
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    /// Verifies that one of the providers that sign by Standard Webhooks signed the body
    /// within the last minutes. Returns the names of those it can be, which are several
    /// where providers share a secret.
    pub fn verify_any<'a>(
        verifiers: &'a BTreeMap<String, WebhookVerifier>,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<&'a str>, Problem> {
        let signers = verifiers
            .iter()
            .filter_map(|(name, verifier)| match verifier {
                Self::Fastsmsing(signers) => Some((name.as_str(), signers)),
                Self::Messagebird(_) | Self::Callback(_) => None,
            });
        Signers::verify_any(signers, headers, body, now)
    }
}

/// The text of a header that a report must have.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Problem> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| unauthorised(name, "Is missing"))
}

fn unauthorised(header: &'static str, detail: &'static str) -> Problem {
    Problem::Unauthorised { header, detail }
}
