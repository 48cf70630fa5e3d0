//! What all listings have in common: parameters, pages, cursors and the link to the next page.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::id::Id;
use domain::invalid::Invalid;
use edge::answer::json;
use jiff::Timestamp;
use lambda_http::http::header::LINK;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use record::clock::SKEW_MAX;
use record::range::bounds;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Entries in a page where the caller does not say.
pub(crate) const LIMIT_DEFAULT: usize = 100;
/// Entries in a page at most. 1,000 messages of ten segments take about 2.5 of Lambda's 6 MB.
const LIMIT_MAX: usize = 1_000;
/// What a cursor begins with, so that old cursors are recognised if their form ever changes.
const CURSOR_FORM: &str = "1.";

/// The parameters that say which page of a listing by time is wanted, newest first.
pub(crate) struct Paging<Kind> {
    pub(crate) limit: usize,
    after: Option<Id<Kind>>,
    created_from: Option<Timestamp>,
    created_to: Option<Timestamp>,
}

impl<Kind> Paging<Kind> {
    pub(crate) fn new() -> Self {
        Self {
            limit: LIMIT_DEFAULT,
            after: None,
            created_from: None,
            created_to: None,
        }
    }

    /// Sets a parameter. Fails if it is invalid, or none of these.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let invalid = |rule: &str| Invalid::new(name, value, rule);
        match name {
            "limit" => self.limit = limit(value)?,
            "cursor" => self.after = Some(place(value)?),
            "created_from" => {
                self.created_from =
                    Some(time(value).ok_or_else(|| invalid("Must be an RFC 3339 time"))?)
            }
            "created_to" => {
                self.created_to =
                    Some(time(value).ok_or_else(|| invalid("Must be an RFC 3339 time"))?)
            }
            _ => return Err(invalid("Is not a parameter of this path")),
        }
        Ok(())
    }

    /// The smallest and the largest id that the page can hold.
    pub(crate) fn bounds(&self, since: Timestamp, now: Timestamp) -> (Id<Kind>, Id<Kind>) {
        let ahead = now + SKEW_MAX;
        let from = self.created_from.map_or(since, |from| from.max(since));
        let (from, to) = bounds(from, self.created_to.map_or(ahead, |to| to.min(ahead)));
        (from, self.after.map_or(to, |after| to.min(after.before())))
    }
}

/// Reads the parameters, and refuses one that is given twice.
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

/// Parses the number of entries in a page.
pub(crate) fn limit(value: &str) -> Result<usize, Invalid> {
    let limit = value
        .parse()
        .ok()
        .filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Invalid::new("limit", value, &format!("Must be 1 to {LIMIT_MAX}")))
}

/// Parses an RFC 3339 time. In a query string an unescaped '+' is a space.
pub(crate) fn time(value: &str) -> Option<Timestamp> {
    value.replace(' ', "+").parse().ok()
}

/// Parses an enum's variant as it is written in JSON.
pub(crate) fn parse_enum<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_value(Value::from(value)).ok()
}

/// Makes the cursor of the page after this place in a listing.
pub(crate) fn cursor(after: impl Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR_FORM}{after}"))
}

/// Parses a cursor into the place that it names.
pub(crate) fn place<T: FromStr>(cursor: &str) -> Result<T, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.and_then(|text| text.strip_prefix(CURSOR_FORM)?.parse().ok());
    place.ok_or_else(|| Invalid::new("cursor", cursor, "Must be a next_cursor of an earlier page"))
}

/// Answers a page, with a Link header to the next one if there is one.
pub(crate) fn answer_page(
    request: &Request,
    page: &impl Serialize,
    next_cursor: Option<&str>,
) -> Response<Body> {
    let mut response = json(StatusCode::OK, page);
    let parameters = request.query_string_parameters();
    let link = next_cursor.map(|cursor| link(request.raw_http_path(), parameters.iter(), cursor));
    let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
    response.headers_mut().extend(link.map(|link| (LINK, link)));
    response
}

/// The Link header to the next page: the same parameters with another cursor.
fn link<'a>(
    path: &str,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
    cursor: &str,
) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.filter(|(name, _)| *name != "cursor"));
    query.append_pair("cursor", cursor);
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

#[cfg(test)]
mod tests {
    use domain::id::MessageId;

    use super::*;

    #[test]
    fn a_cursor_names_its_place_and_a_link_keeps_the_parameters() {
        let id: MessageId = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57".parse().unwrap();
        assert_eq!(place(&cursor(id)), Ok(id));
        let link = link(
            "/messages",
            [("reference", "a b&c"), ("cursor", "old")].into_iter(),
            "new",
        );
        assert_eq!(
            link,
            "</messages?reference=a+b%26c&cursor=new>; rel=\"next\""
        );
    }
}
