//! What a caller wants to see of the record: the parameters of GET /messages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::auth::Client;
use shared::http::Problem;
use shared::id::{BatchId, MessageId};
use shared::message::{Invalid, Recipient};
use shared::record::range::{Filter, bounds};
use shared::record::{RecordError, state_values, text};
use shared::state::{State, Status, Submission};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// A sender's clock may run ahead of ours by this much.
const SKEW_MAX_S: i64 = 300;
/// What a cursor begins with, so that an old one is told apart should its form ever change.
const CURSOR_FORM: &str = "1.";

/// One listing, parsed.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) limit: usize,
    behind: Option<MessageId>,
    status: Option<Status>,
    submission: Option<Submission>,
    recipient: Option<Recipient>,
    reference: Option<String>,
    batch_id: Option<BatchId>,
    created_from: Option<Timestamp>,
    created_to: Option<Timestamp>,
}

impl Listing {
    pub(crate) fn parse<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Invalid> {
        let mut listing = Self {
            limit: LIMIT_DEFAULT,
            behind: None,
            status: None,
            submission: None,
            recipient: None,
            reference: None,
            batch_id: None,
            created_from: None,
            created_to: None,
        };
        for (name, value) in parameters {
            listing.set(name, value)?;
        }
        Ok(listing)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let invalid = |rule: &str| Invalid::new(name, value, rule);
        match name {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                self.limit = limit.ok_or_else(|| invalid(&format!("Must be 1 to {LIMIT_MAX}")))?;
            }
            "cursor" => {
                self.behind = Some(place(value).ok_or_else(|| invalid("Must be a next_cursor of an earlier page"))?)
            }
            "status" => {
                let rule = "Must be ACCEPTED, CONFIRMED, DELIVERED or FAILED";
                self.status = Some(word(value).ok_or_else(|| invalid(rule))?);
            }
            "submission" => {
                let rule = "Must be QUEUED, SENDING, UNCONFIRMED, SENT or NOT_SENT";
                self.submission = Some(word(value).ok_or_else(|| invalid(rule))?);
            }
            // In a query string an unescaped '+' is a blank.
            "recipient" => self.recipient = Some(Recipient::parse(&Value::from(value.trim_start()))?),
            "reference" => self.reference = Some(value.to_owned()),
            "batch_id" => self.batch_id = Some(value.parse().map_err(|_| invalid("Must be the id of a batch"))?),
            "created_from" => self.created_from = Some(value.parse().map_err(|_| invalid("Must be an RFC 3339 time"))?),
            "created_to" => self.created_to = Some(value.parse().map_err(|_| invalid("Must be an RFC 3339 time"))?),
            _ => return Err(invalid("Is not a parameter of this path")),
        }
        Ok(())
    }

    /// The ids that the listing lies between, both included.
    pub(crate) fn bounds(&self, since: Timestamp, now: Timestamp) -> (MessageId, MessageId) {
        let ahead = now + SignedDuration::from_secs(SKEW_MAX_S);
        let from = self.created_from.map_or(since, |from| from.max(since));
        let (from, to) = bounds(from, self.created_to.map_or(ahead, |to| to.min(ahead)));
        (from, self.behind.map_or(to, |behind| to.min(behind.before())))
    }

    pub(crate) fn filter(&self, client: &Client) -> Result<Filter, Problem> {
        let mut filter = Filter::default();
        if !client.operator {
            filter = filter.one_of("client", vec![text(&client.name)]);
        }
        if self.status.is_some() || self.submission.is_some() {
            filter = filter.one_of("state", self.states()?);
        }
        let exact = [
            ("recipient", self.recipient.as_ref().map(|recipient| text(recipient.as_str()))),
            ("reference", self.reference.as_ref().map(text)),
            ("batch_id", self.batch_id.map(text)),
        ];
        Ok(exact
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .fold(filter, |filter, (name, value)| filter.one_of(name, vec![value])))
    }

    /// The states that show as what was asked for.
    fn states(&self) -> Result<Vec<shared::record::Value>, RecordError> {
        let shown = |state: &State| {
            self.status.is_none_or(|status| status == state.status())
                && self.submission.is_none_or(|submission| submission == state.submission())
        };
        state_values(&State::ALL.into_iter().filter(shown).collect::<Vec<_>>())
    }

    /// Items a query reads at a time: a page of the listing, spread over the shards, with some to spare.
    pub(crate) fn page_size(&self) -> usize {
        self.limit / 8 + 2
    }
}

/// A name of an enum as it is written in JSON.
fn word<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_value(Value::from(value)).ok()
}

/// The cursor of the page behind this id.
pub(crate) fn cursor(behind: MessageId) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR_FORM}{behind}"))
}

fn place(cursor: &str) -> Option<MessageId> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(CURSOR_FORM)?.parse().ok()
}

/// The Link header to the next page: the same parameters, but for the cursor.
pub(crate) fn link<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>, cursor: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.filter(|(name, _)| *name != "cursor"));
    query.append_pair("cursor", cursor);
    format!("</messages?{}>; rel=\"next\"", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&'static str, &'static str)]) -> Result<Listing, Invalid> {
        Listing::parse(parameters.iter().copied())
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let wrong = [
            ("limit", "0"),
            ("limit", "1001"),
            ("cursor", "x"),
            ("status", "SENT"),
            ("submission", "DELIVERED"),
            ("recipient", "me"),
            ("batch_id", "1"),
            ("created_from", "yesterday"),
            ("created_to", ""),
            ("sort", "asc"),
        ];
        for (name, value) in wrong {
            assert_eq!(parse(&[(name, value)]).unwrap_err().field, name, "{value}");
        }
        assert!(parse(&[("recipient", " 31633450007"), ("limit", "1000"), ("status", "FAILED")]).is_ok());
    }

    #[test]
    fn a_cursor_names_its_place_and_a_link_keeps_the_parameters() {
        let id: MessageId = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57".parse().unwrap();
        assert_eq!(place(&cursor(id)), Some(id));
        let link = link([("reference", "a b&c"), ("cursor", "old")].into_iter(), "new");
        assert_eq!(link, "</messages?reference=a+b%26c&cursor=new>; rel=\"next\"");
    }
}
