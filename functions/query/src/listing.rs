//! What a caller wants to see of the record: the parameters of GET /messages and of GET /batches.

use serde_json::Value;
use shared::auth::Client;
use shared::batch::BatchState;
use shared::id::{BatchId, OfBatch, OfMessage};
use shared::message::{Invalid, Recipient};
use shared::record::range::{Filter, PAGE_SIZE_MAX};
use shared::record::{RecordError, state_values, text};
use shared::state::{State, Status, Submission};

use crate::paging::{Paging, once_each, word};

/// A listing of messages.
pub(crate) struct OfMessages {
    pub(crate) paging: Paging<OfMessage>,
    status: Option<Status>,
    submission: Option<Submission>,
    recipient: Option<Recipient>,
    reference: Option<String>,
    batch_id: Option<BatchId>,
}

/// A listing of batches.
pub(crate) struct OfBatches {
    pub(crate) paging: Paging<OfBatch>,
    pub(crate) state: Option<BatchState>,
    /// Only this one's, which may be one of another time.
    pub(crate) provider: Option<String>,
}

impl OfMessages {
    pub(crate) fn parse<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Invalid> {
        let paging = Paging::new();
        let mut listing =
            Self { paging, status: None, submission: None, recipient: None, reference: None, batch_id: None };
        for (name, value) in once_each(parameters)? {
            listing.set(name, value)?;
        }
        Ok(listing)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let invalid = |rule: &str| Invalid::new(name, value, rule);
        match name {
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
            _ => self.paging.set(name, value)?,
        }
        Ok(())
    }

    pub(crate) fn filter(&self, client: &Client) -> Result<Filter, RecordError> {
        let mut filter = Filter::default();
        if !client.operator {
            filter = filter.one_of("client", vec![text(&client.name)]);
        }
        if self.status.is_some() || self.submission.is_some() {
            filter = filter.one_of("state", state_values(&self.states())?);
        }
        let exact = [
            ("recipient", self.recipient.as_ref().map(|recipient| text(recipient.as_str()))),
            ("reference", self.reference.as_ref().map(text)),
            ("batch_id", self.batch_id.map(text)),
        ];
        let exact = exact.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Ok(exact.fold(filter, |filter, (name, value)| filter.one_of(name, vec![value])))
    }

    /// The states that show as what was asked for.
    fn states(&self) -> Vec<State> {
        let shown = |state: &State| {
            self.status.is_none_or(|status| status == state.status())
                && self.submission.is_none_or(|submission| submission == state.submission())
        };
        State::ALL.into_iter().filter(shown).collect()
    }

    /// Items a query reads at a time: a page of the listing, spread over the shards, with some to spare.
    ///
    /// With a filter, most of what is read may not be shown, so the pages are large.
    pub(crate) fn page_size(&self) -> usize {
        let filters = self.status.is_some()
            || self.submission.is_some()
            || self.recipient.is_some()
            || self.reference.is_some()
            || self.batch_id.is_some();
        if filters { PAGE_SIZE_MAX } else { self.paging.limit / 8 + 2 }
    }
}

impl OfBatches {
    pub(crate) fn parse<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Invalid> {
        let mut listing = Self { paging: Paging::new(), state: None, provider: None };
        for (name, value) in once_each(parameters)? {
            match name {
                "state" => {
                    let rule = "Must be STARTED, CONFIRMED, REJECTED, UNKNOWN or TOMB";
                    listing.state = Some(word(value).ok_or_else(|| Invalid::new(name, value, rule))?);
                }
                "provider" => listing.provider = Some(value.to_owned()),
                _ => listing.paging.set(name, value)?,
            }
        }
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let twice = [("status", "FAILED"), ("status", "DELIVERED")];
        assert_eq!(OfMessages::parse(twice.into_iter()).err().unwrap().field, "status");
        for (name, value) in wrong {
            assert_eq!(OfMessages::parse([(name, value)].into_iter()).err().unwrap().field, name, "{value}");
        }
        assert_eq!(OfBatches::parse([("state", "SENT")].into_iter()).err().unwrap().field, "state");
        let right = [("recipient", " 31633450007"), ("limit", "1000"), ("status", "FAILED")];
        assert!(OfMessages::parse(right.into_iter()).is_ok());
    }
}
