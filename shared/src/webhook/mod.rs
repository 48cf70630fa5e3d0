//! Who reports: each provider proves itself as its protocol has it.
//!
//! | `protocol` | proof |
//! |---|---|
//! | `fastsmsing` | [a signature over the body](standard) as Standard Webhooks asks |
//! | `messagebird` | [a signed token](token) about the address and the body |
//! | `callback` | [what we put into the address](crate::proof) when we asked for the report |
//!
//! Two secrets of a provider may be valid at once, so that one can be replaced without losing a report.

pub mod standard;
pub mod token;

use std::collections::BTreeMap;

use jiff::Timestamp;
use lambda_http::http::HeaderMap;

use crate::http::Problem;
use crate::proof::ProofKey;
use crate::provider::Protocol;
use standard::Signers;
use token::SigningKeys;

const SECRETS_MAX: usize = 2;

/// A provider, by the secrets that its reports may be proved with.
pub enum Reporter {
    Fastsmsing(Signers),
    Messagebird(SigningKeys),
    Callback(Vec<ProofKey>),
}

impl Reporter {
    /// Reads a provider's `webhook_secrets`: one or two, separated by a blank. An error says what is wrong.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, String> {
        let secrets: Vec<_> = text.split_whitespace().collect();
        if !(1..=SECRETS_MAX).contains(&secrets.len()) {
            return Err(format!("must hold 1 to {SECRETS_MAX} secrets"));
        }
        Ok(match protocol {
            Protocol::Fastsmsing => Self::Fastsmsing(Signers::parse(&secrets)?),
            Protocol::Messagebird => Self::Messagebird(SigningKeys::parse(&secrets)?),
            Protocol::Callback => Self::Callback(secrets.into_iter().map(ProofKey::parse).collect::<Result<_, _>>()?),
        })
    }

    /// Checks that the body comes, lately, from one of those who sign as Standard Webhooks asks; tells who that may
    /// be, which is more than one where providers share a secret.
    pub fn verify_any<'a>(
        reporters: &'a BTreeMap<String, Reporter>,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<&'a str>, Problem> {
        let signers = reporters.iter().filter_map(|(name, reporter)| match reporter {
            Self::Fastsmsing(signers) => Some((name.as_str(), signers)),
            Self::Messagebird(_) | Self::Callback(_) => None,
        });
        Signers::verify_any(signers, headers, body, now)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Problem> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(|| unauthorised(name, "Is missing"))
}

fn unauthorised(header: &'static str, detail: &'static str) -> Problem {
    Problem::Unauthorised { header, detail }
}
