//! MessageBird's contract: what a request must look like, and the document of its errors.
//!
//! It is stricter than the real one, so that every mistake of the product is refused here and not
//! on the day of the first deployment.

use std::collections::HashSet;

use hyper::StatusCode;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use crate::simulator::Answer;

const ORIGINATOR_CHARS_MAX: usize = 11;
const ORIGINATOR_DIGITS_MAX: usize = 15;
const REFERENCE_CHARS_MAX: usize = 255;
/// Ten parts of a long text in `plain` and in `unicode`.
const PLAIN_CHARS_MAX: usize = 1_530;
const UNICODE_UNITS_MAX: usize = 670;
/// What the 7-bit alphabet has in addition to ASCII, and what of ASCII it lacks.
const PLAIN_BEYOND_ASCII: &str = "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà€";
const ASCII_NOT_PLAIN: &str = "`\t";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Message {
    originator: String,
    body: String,
    pub(super) recipients: Vec<String>,
    datacoding: String,
    pub(super) reference: String,
    pub(super) report_url: String,
}

/// Reads the message of a request. An error is the answer that refuses it.
pub(super) fn read_message(
    head: &Parts,
    body: &[u8],
    recipients_max: usize,
) -> Result<Message, Answer> {
    let is_json = |name| {
        head.headers
            .get(name)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
    };
    if !is_json(CONTENT_TYPE) || !is_json(ACCEPT) {
        return Err(refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "Content-Type and Accept",
        ));
    }
    let message: Message = serde_json::from_slice(body).map_err(|_| {
        refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "missing",
            "no message of this contract",
        )
    })?;
    match mistake_in(&message, recipients_max) {
        Some(parameter) => Err(refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            parameter,
        )),
        None => Ok(message),
    }
}

pub(super) fn authorize(head: &Parts, token: &str) -> Result<(), Answer> {
    let key = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("AccessKey "));
    match key {
        Some(key) if key == token => Ok(()),
        _ => Err(refusal(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "access_key",
        )),
    }
}

/// An error document, with MessageBird's number for the error.
pub(super) fn refusal(status: StatusCode, code: &str, parameter: &str) -> Answer {
    let code = match code {
        "unauthorized" => 2,
        "missing" => 9,
        "not_found" => 20,
        "internal" => 99,
        _ => 10,
    };
    let error = json!({"code": code, "description": "this is not right", "parameter": parameter});
    Answer::json(status, &json!({"errors": [error]}))
}

/// The first parameter that breaks the contract, if there is one.
fn mistake_in(message: &Message, recipients_max: usize) -> Option<&'static str> {
    let mut seen = HashSet::new();
    if !is_originator(&message.originator) {
        Some("originator")
    } else if !is_text(&message.body, &message.datacoding) {
        Some("body")
    } else if !(1..=recipients_max).contains(&message.recipients.len())
        || !message
            .recipients
            .iter()
            .all(|recipient| is_msisdn(recipient) && seen.insert(recipient))
    {
        Some("recipients")
    } else if message.reference.is_empty()
        || message.reference.chars().count() > REFERENCE_CHARS_MAX
    {
        Some("reference")
    } else if Url::parse(&message.report_url)
        .map_or(true, |url| url.host().is_none() || url.query().is_some())
    {
        Some("reportUrl")
    } else {
        None
    }
}

fn is_originator(originator: &str) -> bool {
    let named = originator.len() <= ORIGINATOR_CHARS_MAX
        && originator.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let numbered = originator.len() <= ORIGINATOR_DIGITS_MAX
        && originator.bytes().all(|byte| byte.is_ascii_digit());
    !originator.is_empty() && (named || numbered)
}

/// Whether the text fits its coding. `plain` takes only the 7-bit alphabet, and `unicode`, which
/// costs more, only texts that need it.
fn is_text(body: &str, datacoding: &str) -> bool {
    let is_plain = |c: char| match c.is_ascii() {
        true => !ASCII_NOT_PLAIN.contains(c),
        false => PLAIN_BEYOND_ASCII.contains(c),
    };
    match datacoding {
        "plain" => {
            !body.is_empty()
                && body.chars().count() <= PLAIN_CHARS_MAX
                && body.chars().all(is_plain)
        }
        "unicode" => {
            body.encode_utf16().count() <= UNICODE_UNITS_MAX && !body.chars().all(is_plain)
        }
        _ => false,
    }
}

/// Whether this is a number in E.164 without its plus.
fn is_msisdn(recipient: &str) -> bool {
    (4..=15).contains(&recipient.len())
        && recipient.bytes().all(|byte| byte.is_ascii_digit())
        && !recipient.starts_with('0')
}
