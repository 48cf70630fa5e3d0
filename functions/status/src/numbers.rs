//! Which numbers are inactive: a report `invalid` makes its message's recipient inactive (W10), and
//! an operator can overrule that with PUT /numbers/{recipient}.

use std::collections::BTreeMap;

use domain::fields::Fields;
use domain::invalid::Invalid;
use domain::message::Message;
use domain::number::{Number, NumberStatus};
use domain::recipient::Recipient;
use domain::state::{DeliveryReport, Reason};
use edge::answer;
use edge::problem::Problem;
use edge::request::{json_body, recipient_in_path};
use edge::view::NumberView;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use record::numbers::Deactivated;
use record::{RecordError, clock};
use serde_json::Value;
use tracing::info;

use crate::App;
use crate::message_reports::MessageReports;

/// The size of a body, in bytes. It holds one short field.
const BODY_BYTES_MAX: usize = 1024;
/// Writes made at once: enough to write 1,000 numbers within a second.
const WRITES_AT_ONCE: usize = 16;

impl App {
    /// W10 for every message that is reported as invalid, whatever becomes of the message itself.
    /// If one write fails, so does the call, and the provider repeats it.
    pub(crate) async fn deactivate_invalid(
        &self,
        reports: impl Iterator<Item = &MessageReports>,
    ) -> Result<(), RecordError> {
        let now = clock::now();
        let invalid = newest_of_each_recipient(
            reports
                .filter(|about| is_invalid(about))
                .map(|about| &about.seen),
        );
        let writes: Vec<_> = invalid
            .map(|message| self.deactivate(message, now))
            .collect();
        let written: Vec<_> = stream::iter(writes)
            .buffer_unordered(WRITES_AT_ONCE)
            .collect()
            .await;
        written.into_iter().collect()
    }

    async fn deactivate(&self, message: &Message, now: Timestamp) -> Result<(), RecordError> {
        let outcome = self.numbers.deactivate(message, now).await?;
        if outcome != Deactivated::Already {
            info!(
                event = "invalid",
                message_id = %message.id,
                ?outcome,
                "a recipient was reported as invalid"
            );
        }
        Ok(())
    }

    pub(crate) async fn put_number(
        &self,
        request: &Request,
        segment: &str,
    ) -> Result<Response<Body>, Problem> {
        let operator = self.clients.identify_operator(request.headers())?;
        let recipient = recipient_in_path(segment)?;
        let status = parse(&json_body(request, BODY_BYTES_MAX)?)?;
        let decision = Number {
            recipient,
            status,
            since: clock::now(),
            by: operator.name.clone(),
            message_id: None,
        };
        let known = self.numbers.set(decision).await?;
        if known.status != status {
            return Err(Problem::Conflict("The number was changed in the meantime"));
        }
        info!(
            event = "number",
            operator = operator.name,
            ?status,
            "an operator set the status of a number"
        );
        Ok(answer::json(StatusCode::OK, &NumberView::of(&known)))
    }
}

fn is_invalid(about: &MessageReports) -> bool {
    about
        .reports
        .iter()
        .any(|(_, report)| *report == DeliveryReport::Failed(Reason::InvalidRecipient))
}

/// The newest message per recipient: a report about it overrules more of an operator's decisions.
fn newest_of_each_recipient<'a>(
    messages: impl Iterator<Item = &'a Message>,
) -> impl Iterator<Item = &'a Message> {
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
    let fields = Fields::of(body)?;
    fields.refuse_unknown(&["status"], "a number")?;
    serde_json::from_value(fields.get("status").clone())
        .map_err(|_| Invalid::new("status", "", "Must be ACTIVE or INACTIVE"))
}
