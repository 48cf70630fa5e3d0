//! The simulated MessageBird: a request sends one text to many recipients, and a signed call
//! reports each status of each recipient.
//!
//! ```text
//! contract    what a request must look like       token       how the calls are signed
//! ```

mod contract;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Mutex;

use anyhow::Context;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

pub use token::Token;

use crate::simulator::{
    Answer, Batch, BatchMessage, Billed, Options, Post, Protocol, ProviderRequest, Simulator,
    Status, Statuses, lock,
};
use contract::{authorize, read_message, refusal};

/// A running MessageBird.
pub type MessageBird = Simulator<MessageBirdProtocol>;

/// MessageBird's protocol.
pub struct MessageBirdProtocol {
    token: String,
    signing_key: String,
    recipients_max: usize,
    /// The accepted requests, for reports that the test makes.
    accepted: Mutex<Vec<AcceptedRequest>>,
}

struct AcceptedRequest {
    reports: Reports,
    recipients: Vec<String>,
}

/// The address for reports about one request, and what identifies the request in them.
#[derive(Clone)]
struct Reports {
    url: String,
    id: String,
    reference: String,
}

impl Simulator<MessageBirdProtocol> {
    pub fn start(name: &str, options: Options) -> anyhow::Result<Self> {
        let protocol = MessageBirdProtocol {
            token: format!("access-{}", Uuid::now_v7()),
            signing_key: format!("signing-{}", Uuid::now_v7()),
            recipients_max: options.batch_size_max,
            accepted: Mutex::default(),
        };
        Self::run(name, options, protocol)
    }

    /// The access key of its one client.
    pub fn token(&self) -> &str {
        &self.protocol().token
    }

    /// The key with which its calls are signed.
    pub fn signing_key(&self) -> &str {
        &self.protocol().signing_key
    }

    /// Reports a status, in MessageBird's own words, about the last request that had this
    /// recipient.
    pub fn report(
        &self,
        recipient: &str,
        status: &str,
        error_code: Option<u16>,
    ) -> anyhow::Result<()> {
        let url = self.report_url(recipient, status, error_code)?;
        self.send(vec![signed(url, self.signing_key().to_owned())]);
        Ok(())
    }

    /// The address that such a report calls.
    pub fn report_url(
        &self,
        recipient: &str,
        status: &str,
        error_code: Option<u16>,
    ) -> anyhow::Result<String> {
        let accepted = lock(&self.protocol().accepted);
        let mut latest_first = accepted.iter().rev();
        let found =
            latest_first.find(|request| request.recipients.iter().any(|to| to == recipient));
        let AcceptedRequest { reports, .. } = found.context("no request had this recipient")?;
        Ok(reports.address(recipient, status, error_code))
    }
}

impl Protocol for MessageBirdProtocol {
    const ACCEPTED_STATUS: StatusCode = StatusCode::CREATED;
    const REFUSES_SINGLE_MESSAGES: bool = false;

    fn carries_messages(&self, head: &Parts) -> bool {
        head.method == Method::POST && head.uri.path() == "/messages"
    }

    fn admit(&self, request: &ProviderRequest) -> Result<Batch, Answer> {
        authorize(&request.head, &self.token)?;
        let message = read_message(&request.head, &request.body, self.recipients_max)?;
        let subject = |digits: String| BatchMessage {
            name: digits.clone(),
            number: digits,
        };
        Ok(Batch {
            batch_id: message.reference,
            messages: message.recipients.into_iter().map(subject).collect(),
            reports_to: message.report_url,
        })
    }

    fn accepted(&self, _: &ProviderRequest, batch: &Batch, billed: &Billed) -> Answer {
        let reports = Reports::of(batch, &billed.request_id);
        lock(&self.accepted).push(AcceptedRequest {
            reports,
            recipients: billed.messages.clone(),
        });
        let item = |digits: &String| {
            let recipient: u64 = digits.parse().unwrap_or_default();
            json!({
                "recipient": recipient,
                "status": "sent",
                "statusDatetime": billed.at,
                "messagePartCount": 1,
            })
        };
        let items: Vec<_> = billed.messages.iter().map(item).collect();
        let recipients =
            json!({"totalCount": items.len(), "totalSentCount": items.len(), "items": items});
        Answer::json(
            StatusCode::CREATED,
            &json!({
                "id": billed.request_id,
                "reference": billed.batch_id,
                "recipients": recipients,
            }),
        )
    }

    fn posts(&self, batch: &Batch, request_id: &str, updates: Vec<Statuses>) -> Vec<Post> {
        let reports = Reports::of(batch, request_id);
        let is_known = |name: &str| batch.messages.iter().any(|message| message.name == name);
        let updates = updates.into_iter().flatten().map(|(name, status)| {
            let (status, error_code) = status_text(status);
            match is_known(&name) {
                true => reports.address(&name, status, error_code),
                // An unknown message becomes an unknown batch, because reports refer to batches.
                false => Reports {
                    reference: name,
                    ..reports.clone()
                }
                .address("31600000000", status, error_code),
            }
        });
        updates
            .map(|url| signed(url, self.signing_key.clone()))
            .collect()
    }

    fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
        refusal(status, code, message)
    }
}

impl Reports {
    fn of(batch: &Batch, request_id: &str) -> Self {
        let (url, reference) = (batch.reports_to.clone(), batch.batch_id.clone());
        Self {
            url,
            id: request_id.to_owned(),
            reference,
        }
    }

    fn address(&self, recipient: &str, status: &str, error_code: Option<u16>) -> String {
        let now = Timestamp::now().strftime("%FT%T+00:00").to_string();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("id", &self.id)
            .append_pair("reference", &self.reference)
            .append_pair("recipient", recipient)
            .append_pair("status", status)
            .append_pair("statusDatetime", &now)
            .append_pair("ported", "0");
        if let Some(code) = error_code {
            query
                .append_pair("statusErrorCode", &code.to_string())
                .append_pair("statusReason", "not delivered");
        }
        format!("{}?{}", self.url, query.finish())
    }
}

/// MessageBird's text for a status, and its error code.
fn status_text(status: Status) -> (&'static str, Option<u16>) {
    match status {
        Status::Confirmed => ("sent", None),
        Status::Delivered => ("delivered", None),
        Status::Failed => ("delivery_failed", Some(107)),
        Status::Invalid => ("delivery_failed", Some(1)),
    }
}

fn signed(url: String, key: String) -> Post {
    Box::new(move |client| {
        let token = Token::about(&url, Timestamp::now().as_second()).signed(&key);
        Ok(client.get(&url).header("MessageBird-Signature-JWT", token))
    })
}
