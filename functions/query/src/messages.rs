//! GET /messages/{id} and GET /messages: a client reads its own messages, and an operator all.

use domain::id::{BatchId, MessageId, MessageKind};
use domain::invalid::Invalid;
use domain::message::Message;
use domain::recipient::Recipient;
use domain::state::{State, Status, Submission};
use edge::answer::{self, not_found};
use edge::auth::Client;
use edge::problem::Problem;
use edge::request::id_in_path;
use edge::view::MessageView;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use record::filter::Filter;
use record::range::{Order, PAGE_SIZE_MAX, Range, Step};
use record::{RecordError, clock};
use serde::Serialize;
use serde_json::Value;

use crate::App;
use crate::paging::{Paging, answer_page, cursor, once_each, parse_enum};

/// Pages that one listing reads: 16 for each day that it looks at, so 100 days where little was
/// sent. It ends well within the function's time, and the next listing goes on from there.
const PAGES_MAX: usize = 1_600;

#[derive(Serialize)]
struct MessagesPage<'a> {
    messages: Vec<MessageView<'a>>,
    next_cursor: Option<String>,
}

/// The parameters of a listing of messages.
struct MessageQuery {
    paging: Paging<MessageKind>,
    status: Option<Status>,
    submission: Option<Submission>,
    recipient: Option<Recipient>,
    reference: Option<String>,
    batch_id: Option<BatchId>,
}

impl App {
    pub(crate) async fn get_message(
        &self,
        request: &Request,
        id: &str,
    ) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let found = match id_in_path(id)? {
            Some(id) => self.messages.get(id).await?,
            None => None,
        };
        match found {
            Some(message) if client.may_see(&message) => {
                Ok(answer::json(StatusCode::OK, &MessageView::of(&message)))
            }
            // A client does not learn whether another client's message exists.
            _ => Ok(not_found(("id", id), "status")),
        }
    }

    pub(crate) async fn get_messages(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let parameters = request.query_string_parameters();
        let query = MessageQuery::parse(parameters.iter())?;
        let ids = query.paging.bounds(self.since, clock::now());
        let filter = query.filter(client)?;
        let range = self
            .messages
            .range(Order::NewestFirst, ids, filter)
            .in_pages(query.page_size(), PAGES_MAX);
        let (messages, after) = read_page(range, query.paging.limit).await?;

        let page = MessagesPage {
            messages: messages.iter().map(MessageView::of).collect(),
            next_cursor: after.map(cursor),
        };
        Ok(answer_page(request, &page, page.next_cursor.as_deref()))
    }
}

impl MessageQuery {
    fn parse<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Invalid> {
        let mut query = Self {
            paging: Paging::new(),
            status: None,
            submission: None,
            recipient: None,
            reference: None,
            batch_id: None,
        };
        for (name, value) in once_each(parameters)? {
            query.set(name, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let invalid = |rule: &str| Invalid::new(name, value, rule);
        match name {
            "status" => {
                let rule = "Must be ACCEPTED, CONFIRMED, DELIVERED or FAILED";
                self.status = Some(parse_enum(value).ok_or_else(|| invalid(rule))?);
            }
            "submission" => {
                let rule = "Must be QUEUED, SENDING, UNCONFIRMED, SENT or NOT_SENT";
                self.submission = Some(parse_enum(value).ok_or_else(|| invalid(rule))?);
            }
            // In a query string an unescaped '+' is a space.
            "recipient" => {
                self.recipient = Some(Recipient::parse(&Value::from(value.trim_start()))?)
            }
            "reference" => self.reference = Some(value.to_owned()),
            "batch_id" => {
                self.batch_id = Some(
                    value
                        .parse()
                        .map_err(|_| invalid("Must be the id of a batch"))?,
                )
            }
            _ => self.paging.set(name, value)?,
        }
        Ok(())
    }

    /// Which messages match. A client that is no operator sees its own only.
    fn filter(&self, client: &Client) -> Result<Filter, RecordError> {
        let mut filter = Filter::default();
        if !client.operator {
            filter = filter.client(&client.name);
        }
        if self.status.is_some() || self.submission.is_some() {
            filter = filter.states(&self.states())?;
        }
        if let Some(recipient) = &self.recipient {
            filter = filter.recipient(recipient);
        }
        if let Some(reference) = &self.reference {
            filter = filter.reference(reference);
        }
        Ok(self.batch_id.into_iter().fold(filter, Filter::batch))
    }

    /// The stored states that are shown as the given `status` and `submission`.
    fn states(&self) -> Vec<State> {
        let shown = |state: &State| {
            self.status.is_none_or(|status| status == state.status())
                && self
                    .submission
                    .is_none_or(|submission| submission == state.submission())
        };
        State::ALL.into_iter().filter(shown).collect()
    }

    /// Items that one query reads: a page of the listing, spread over the 16 shards,
    /// twice over and some more. With a filter, most of what is read may not match, so
    /// the pages are as large as they can be.
    fn page_size(&self) -> usize {
        let filters = self.status.is_some()
            || self.submission.is_some()
            || self.recipient.is_some()
            || self.reference.is_some()
            || self.batch_id.is_some();
        if filters {
            PAGE_SIZE_MAX
        } else {
            self.paging.limit / 8 + 2
        }
    }
}

/// Reads one page. The id is that after which the next page begins, if there may be one.
async fn read_page(
    mut range: Range,
    limit: usize,
) -> Result<(Vec<Message>, Option<MessageId>), Problem> {
    let mut messages = Vec::with_capacity(limit);
    loop {
        match range.next().await? {
            Step::Message(_) if messages.len() == limit => {
                let last = messages.last().map(|message: &Message| message.id);
                return Ok((messages, last));
            }
            Step::Message(message) => messages.push(*message),
            Step::Paused(place) => return Ok((messages, Some(place))),
            Step::End => return Ok((messages, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&str, &str)]) -> Result<MessageQuery, String> {
        MessageQuery::parse(parameters.iter().copied()).map_err(|invalid| invalid.field)
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
            assert_eq!(parse(&[(name, value)]).err().unwrap(), name, "{value}");
        }
        let twice = [("status", "FAILED"), ("status", "DELIVERED")];
        assert_eq!(parse(&twice).err().unwrap(), "status");
        let right = [
            ("recipient", " 31633450007"),
            ("limit", "1000"),
            ("status", "FAILED"),
        ];
        assert!(parse(&right).is_ok());
    }
}
