//! The contract of a seed 3 provider: what a request must look like. Its errors have no document.

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use reqwest::Url;
use serde::Deserialize;

use crate::simulator::Answer;

/// Ten segments of 153 GSM-7 characters.
const TEXT_CHARS_MAX: usize = 1_530;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) to_number: String,
    message: String,
    pub(super) callback_url: String,
}

/// Reads the message of a request, and the id that its client put into the callback address. An
/// error is the answer that refuses it.
pub(super) fn read_message(head: &Parts, body: &[u8]) -> Result<(Message, String), Answer> {
    let json = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !json {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            "the body must be application/json",
        ));
    }
    let message: Message = serde_json::from_slice(body)
        .map_err(|_| refusal(StatusCode::BAD_REQUEST, "no message of this contract"))?;
    let url = Url::parse(&message.callback_url).ok().filter(Url::has_host);
    let id = url
        .and_then(|url| Some(url.path_segments()?.next_back()?.to_owned()))
        .filter(|id| !id.is_empty());
    match id {
        Some(id) if is_number(&message.to_number) && is_text(&message.message) => Ok((message, id)),
        _ => Err(refusal(StatusCode::BAD_REQUEST, "a field is wrong")),
    }
}

pub(super) fn authorize(head: &Parts, token: Option<&str>) -> Result<(), Answer> {
    let bearer = head
        .headers
        .get(AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    match bearer == token.map(|token| format!("Bearer {token}")).as_deref() {
        true => Ok(()),
        false => Err(refusal(StatusCode::UNAUTHORIZED, "the token is wrong")),
    }
}

pub(super) fn refusal(status: StatusCode, message: &str) -> Answer {
    Answer::new(status, message.to_owned())
}

/// Whether this is a number in E.164, with its plus.
fn is_number(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (4..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

fn is_text(text: &str) -> bool {
    (1..=TEXT_CHARS_MAX).contains(&text.chars().count())
}
