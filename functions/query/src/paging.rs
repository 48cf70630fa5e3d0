//! What all listings have in common: newest first, a page at a time, between two moments.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::clock::SKEW_MAX;
use shared::id::Id;
use shared::message::Invalid;
use shared::record::range::bounds;

pub(crate) const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// What a cursor begins with, so that an old one is told apart should its form ever change.
const CURSOR_FORM: &str = "1.";

/// Which page of a listing.
pub(crate) struct Paging<Kind> {
    pub(crate) limit: usize,
    behind: Option<Id<Kind>>,
    created_from: Option<Timestamp>,
    created_to: Option<Timestamp>,
}

impl<Kind> Paging<Kind> {
    pub(crate) fn new() -> Self {
        Self { limit: LIMIT_DEFAULT, behind: None, created_from: None, created_to: None }
    }

    /// Takes a parameter, if it is about pages; refuses it, if no listing has it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let invalid = |rule: &str| Invalid::new(name, value, rule);
        match name {
            "limit" => self.limit = limit(value)?,
            "cursor" => self.behind = Some(place(value)?),
            "created_from" => self.created_from = Some(time(value).ok_or_else(|| invalid("Must be an RFC 3339 time"))?),
            "created_to" => self.created_to = Some(time(value).ok_or_else(|| invalid("Must be an RFC 3339 time"))?),
            _ => return Err(invalid("Is not a parameter of this path")),
        }
        Ok(())
    }

    /// The ids that the page lies between, both included.
    pub(crate) fn bounds(&self, since: Timestamp, now: Timestamp) -> (Id<Kind>, Id<Kind>) {
        let ahead = now + SKEW_MAX;
        let from = self.created_from.map_or(since, |from| from.max(since));
        let (from, to) = bounds(from, self.created_to.map_or(ahead, |to| to.min(ahead)));
        (from, self.behind.map_or(to, |behind| to.min(behind.before())))
    }
}

/// The parameters, each of which may be given once.
pub(crate) fn once_each<'a>(
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<(&'a str, &'a str)>, Invalid> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (name, value) in parameters {
        if seen.iter().any(|(known, _)| *known == name) {
            return Err(Invalid::new(name, value, "Must be given once"));
        }
        seen.push((name, value));
    }
    Ok(seen)
}

/// How many a page holds.
pub(crate) fn limit(value: &str) -> Result<usize, Invalid> {
    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Invalid::new("limit", value, &format!("Must be 1 to {LIMIT_MAX}")))
}

/// An RFC 3339 time; in a query string an unescaped '+' is a blank.
pub(crate) fn time(value: &str) -> Option<Timestamp> {
    value.replace(' ', "+").parse().ok()
}

/// A name of an enum as it is written in JSON.
pub(crate) fn word<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_value(Value::from(value)).ok()
}

/// The cursor of the page behind this place in a listing.
pub(crate) fn cursor(behind: impl Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR_FORM}{behind}"))
}

/// The place that a cursor names.
pub(crate) fn place<T: FromStr>(cursor: &str) -> Result<T, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.and_then(|text| text.strip_prefix(CURSOR_FORM)?.parse().ok());
    place.ok_or_else(|| Invalid::new("cursor", cursor, "Must be a next_cursor of an earlier page"))
}

/// The Link header to the next page: the same parameters, but for the cursor.
pub(crate) fn link<'a>(path: &str, parameters: impl Iterator<Item = (&'a str, &'a str)>, cursor: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.filter(|(name, _)| *name != "cursor"));
    query.append_pair("cursor", cursor);
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

#[cfg(test)]
mod tests {
    use shared::id::MessageId;

    use super::*;

    #[test]
    fn a_cursor_names_its_place_and_a_link_keeps_the_parameters() {
        let id: MessageId = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57".parse().unwrap();
        assert_eq!(place(&cursor(id)), Ok(id));
        let link = link("/messages", [("reference", "a b&c"), ("cursor", "old")].into_iter(), "new");
        assert_eq!(link, "</messages?reference=a+b%26c&cursor=new>; rel=\"next\"");
    }
}
