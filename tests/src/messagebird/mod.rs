//! MessageBird, simulated: one text to many recipients, and a signed call for what became of each.
//!
//! ```text
//! contract    what a request must look like       token       how its calls are signed
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

use crate::simulator::{Answer, Batch, Billed, Call, Dialect, Options, Post, Simulator, Status, Subject, Told, lock};
use contract::{authorize, read_message, refusal};

/// A running MessageBird.
pub type MessageBird = Simulator<Messages>;

/// Its protocol.
pub struct Messages {
    token: String,
    signing_key: String,
    recipients_max: usize,
    /// What was taken, for reports by hand.
    taken: Mutex<Vec<Taken>>,
}

struct Taken {
    reports: Reports,
    recipients: Vec<String>,
}

/// Where the reports about one request go.
#[derive(Clone)]
struct Reports {
    url: String,
    id: String,
    reference: String,
}

impl Simulator<Messages> {
    pub fn start(name: &str, options: Options) -> anyhow::Result<Self> {
        let dialect = Messages {
            token: format!("access-{}", Uuid::now_v7()),
            signing_key: format!("signing-{}", Uuid::now_v7()),
            recipients_max: options.batch_size_max,
            taken: Mutex::default(),
        };
        Self::run(name, options, dialect)
    }

    /// The access key of its one client.
    pub fn token(&self) -> &str {
        &self.dialect().token
    }

    /// What its calls are signed with.
    pub fn signing_key(&self) -> &str {
        &self.dialect().signing_key
    }

    /// Reports by hand about the last request that had this recipient, in MessageBird's words.
    pub fn report(&self, recipient: &str, status: &str, error_code: Option<u16>) -> anyhow::Result<()> {
        let url = self.report_url(recipient, status, error_code)?;
        self.send(vec![signed(url, self.signing_key().to_owned())]);
        Ok(())
    }

    /// The address that such a report calls.
    pub fn report_url(&self, recipient: &str, status: &str, error_code: Option<u16>) -> anyhow::Result<String> {
        let taken = lock(&self.dialect().taken);
        let has = |taken: &&Taken| taken.recipients.iter().any(|taken| taken == recipient);
        let Taken { reports, .. } = taken.iter().rev().find(has).context("no request had this recipient")?;
        Ok(reports.address(recipient, status, error_code))
    }
}

impl Dialect for Messages {
    const TAKEN: StatusCode = StatusCode::CREATED;
    const REFUSES_SINGLY: bool = false;

    fn carries(&self, head: &Parts) -> bool {
        head.method == Method::POST && head.uri.path() == "/messages"
    }

    fn admit(&self, call: &Call) -> Result<Batch, Answer> {
        authorize(&call.head, &self.token)?;
        let message = read_message(&call.head, &call.body, self.recipients_max)?;
        let subject = |digits: String| Subject { name: digits.clone(), number: digits };
        Ok(Batch {
            batch_id: message.reference,
            messages: message.recipients.into_iter().map(subject).collect(),
            reports_to: message.report_url,
        })
    }

    fn billed(&self, _: &Call, batch: &Batch, billed: &Billed) -> Answer {
        let reports = Reports::of(batch, &billed.request_id);
        lock(&self.taken).push(Taken { reports, recipients: billed.messages.clone() });
        let item = |digits: &String| {
            let recipient: u64 = digits.parse().unwrap_or_default();
            json!({"recipient": recipient, "status": "sent", "statusDatetime": billed.at, "messagePartCount": 1})
        };
        let items: Vec<_> = billed.messages.iter().map(item).collect();
        let recipients = json!({"totalCount": items.len(), "totalSentCount": items.len(), "items": items});
        Answer::json(
            StatusCode::CREATED,
            &json!({"id": billed.request_id, "reference": billed.batch_id, "recipients": recipients}),
        )
    }

    fn posts(&self, batch: &Batch, request_id: &str, course: Vec<Told>) -> Vec<Post> {
        let reports = Reports::of(batch, request_id);
        let is_known = |name: &str| batch.messages.iter().any(|message| message.name == name);
        let updates = course.into_iter().flatten().map(|(name, status)| {
            let (status, error_code) = words(status);
            match is_known(&name) {
                true => reports.address(&name, status, error_code),
                // A batch that nobody knows, in place of a message.
                false => Reports { reference: name, ..reports.clone() }.address("31600000000", status, error_code),
            }
        });
        updates.map(|url| signed(url, self.signing_key.clone())).collect()
    }

    fn refusal(status: StatusCode, code: &str, words: &str) -> Answer {
        refusal(status, code, words)
    }
}

impl Reports {
    fn of(batch: &Batch, request_id: &str) -> Self {
        let (url, reference) = (batch.reports_to.clone(), batch.batch_id.clone());
        Self { url, id: request_id.to_owned(), reference }
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
            query.append_pair("statusErrorCode", &code.to_string()).append_pair("statusReason", "not delivered");
        }
        format!("{}?{}", self.url, query.finish())
    }
}

/// Its own words for what a course says.
fn words(status: Status) -> (&'static str, Option<u16>) {
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
