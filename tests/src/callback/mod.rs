//! A provider of seed 3, simulated: one message a request, and a call back to the address that came with it.

mod contract;
#[cfg(test)]
mod tests;

use std::sync::Mutex;

use anyhow::Context;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::simulator::{Answer, Batch, Billed, Call, Dialect, Options, Post, Simulator, Status, Subject, Told, lock};
use contract::{authorize, read_message, refusal};

/// A running provider that calls back.
pub type Callback = Simulator<Texts>;

/// Its protocol.
pub struct Texts {
    /// None where it asks for no token.
    token: Option<String>,
    taken: Mutex<Vec<Taken>>,
}

struct Taken {
    /// The client's own, as its address names it.
    message_id: String,
    callback_url: String,
    request_id: String,
}

impl Simulator<Texts> {
    pub fn start(name: &str, with_token: bool, options: Options) -> anyhow::Result<Self> {
        let token = with_token.then(|| format!("token-{}", Uuid::now_v7()));
        Self::run(name, options, Texts { token, taken: Mutex::default() })
    }

    /// Empty where it asks for none.
    pub fn token(&self) -> &str {
        self.dialect().token.as_deref().unwrap_or_default()
    }

    /// Where messages are posted to.
    pub fn send_url(&self) -> String {
        format!("{}/send", self.url())
    }

    /// Calls back about a message that was taken, with any status.
    pub fn report(&self, message_id: &str, status: &str) -> anyhow::Result<()> {
        let (url, request_id) = self.taken(message_id)?;
        self.send(vec![call(url, &request_id, status)]);
        Ok(())
    }

    /// The address that came with a message, and the provider's own id of it.
    pub fn taken(&self, message_id: &str) -> anyhow::Result<(String, String)> {
        let taken = lock(&self.dialect().taken);
        let found = taken.iter().rev().find(|taken| taken.message_id == message_id);
        let found = found.context("it never had this message")?;
        Ok((found.callback_url.clone(), found.request_id.clone()))
    }
}

impl Dialect for Texts {
    const TAKEN: StatusCode = StatusCode::OK;
    const REFUSES_SINGLY: bool = false;

    fn carries(&self, head: &Parts) -> bool {
        head.method == Method::POST && head.uri.path() == "/send"
    }

    fn admit(&self, call: &Call) -> Result<Batch, Answer> {
        authorize(&call.head, self.token.as_deref())?;
        let (message, message_id) = read_message(&call.head, &call.body)?;
        Ok(Batch {
            batch_id: String::new(),
            messages: vec![Subject { name: message_id, number: message.to_number }],
            reports_to: message.callback_url,
        })
    }

    fn billed(&self, _: &Call, batch: &Batch, billed: &Billed) -> Answer {
        lock(&self.taken).extend(billed.messages.iter().map(|message_id| Taken {
            message_id: message_id.clone(),
            callback_url: batch.reports_to.clone(),
            request_id: billed.request_id.clone(),
        }));
        Answer::json(StatusCode::OK, &json!({"message_id": billed.request_id}))
    }

    fn posts(&self, batch: &Batch, request_id: &str, course: Vec<Told>) -> Vec<Post> {
        // It knows no status for "taken": its answer said that. And it has no address of a message that it never had.
        let is_told = |(name, status): &(String, Status)| {
            *status != Status::Confirmed && batch.messages.iter().any(|message| message.name == *name)
        };
        let updates = course.into_iter().flatten().filter(is_told);
        updates.map(|(_, status)| call(batch.reports_to.clone(), request_id, word(status))).collect()
    }

    fn refusal(status: StatusCode, _: &str, words: &str) -> Answer {
        refusal(status, words)
    }
}

/// Its own word for what a course says.
fn word(status: Status) -> &'static str {
    match status {
        Status::Confirmed => "",
        Status::Delivered => "delivered",
        Status::Failed => "failed",
        Status::Invalid => "invalid",
    }
}

fn call(url: String, request_id: &str, status: &str) -> Post {
    let body = json!({"status": status, "message_id": request_id});
    Box::new(move |client| Ok(client.post(&url).json(&body)))
}
