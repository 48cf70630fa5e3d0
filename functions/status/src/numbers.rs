//! What becomes of numbers: a report `invalid` makes its message's recipient inactive, and an operator has the last
//! word, with PUT /numbers/{recipient}.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use serde_json::Value;
use shared::clock;
use shared::http::{self, Problem, json_body, recipient_in_path};
use shared::message::{Invalid, Message, Recipient};
use shared::number::{Number, NumberStatus};
use shared::record::RecordError;
use shared::record::numbers::Deactivated;
use shared::state::{Reason, Report};
use shared::view::NumberView;
use tracing::info;

use crate::{App, Thread};

const BODY_BYTES_MAX: usize = 1024;
/// Writes under way at once.
const WRITES_AT_ONCE: usize = 16;

impl App {
    /// W10, for every message that is reported as invalid, whatever becomes of the message itself. An error is one
    /// of the call, so that the provider repeats it.
    pub(crate) async fn deactivate_invalid(&self, threads: impl Iterator<Item = &Thread>) -> Result<(), RecordError> {
        let now = clock::now();
        let invalid = newest_of_each_recipient(threads.filter(|thread| is_invalid(thread)).map(|thread| &thread.seen));
        let writes: Vec<_> = invalid.map(|message| self.deactivate(message, now)).collect();
        let written: Vec<_> = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).collect().await;
        written.into_iter().collect()
    }

    async fn deactivate(&self, message: &Message, now: Timestamp) -> Result<(), RecordError> {
        let outcome = self.numbers.deactivate(message, now).await?;
        if outcome != Deactivated::Already {
            info!(event = "invalid", message_id = %message.id, ?outcome, "a recipient was reported as invalid");
        }
        Ok(())
    }

    pub(crate) async fn put_number(&self, request: &Request, segment: &str) -> Result<Response<Body>, Problem> {
        let operator = self.clients.identify_operator(request.headers())?;
        let recipient = recipient_in_path(segment)?;
        let status = parse(&json_body(request, BODY_BYTES_MAX)?)?;
        let word = Number { recipient, status, since: clock::now(), by: operator.name.clone(), message_id: None };
        let known = self.numbers.set(word).await?;
        if known.status != status {
            return Err(Problem::Conflict("The number was changed in the meantime"));
        }
        info!(event = "number", operator = operator.name, ?status, "an operator spoke about a number");
        Ok(http::json(StatusCode::OK, &NumberView::of(&known)))
    }
}

fn is_invalid(thread: &Thread) -> bool {
    thread.reports.iter().any(|(_, report)| *report == Report::Failed(Reason::InvalidRecipient))
}

/// A younger message's report says more than an older one's.
fn newest_of_each_recipient<'a>(messages: impl Iterator<Item = &'a Message>) -> impl Iterator<Item = &'a Message> {
    let mut newest: BTreeMap<&Recipient, &Message> = BTreeMap::new();
    for message in messages {
        let newest = newest.entry(&message.recipient).or_insert(message);
        if newest.id < message.id {
            *newest = message;
        }
    }
    newest.into_values()
}

fn parse(body: &Value) -> Result<NumberStatus, Invalid> {
    let Value::Object(fields) = body else { return Err(Invalid::new("body", "", "Must be a JSON object")) };
    if let Some(unknown) = fields.keys().find(|name| *name != "status") {
        return Err(Invalid::new(unknown, "", "Is not a field of a number"));
    }
    let status = fields.get("status").cloned().unwrap_or_default();
    serde_json::from_value(status).map_err(|_| Invalid::new("status", "", "Must be ACTIVE or INACTIVE"))
}
