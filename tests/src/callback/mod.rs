//! A simulated provider of seed 3: each request carries one message, and the provider calls back
//! the address that came with it.

mod contract;
#[cfg(test)]
mod tests;

use std::sync::Mutex;

use anyhow::Context;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::simulator::{
    Answer, Batch, BatchMessage, Billed, Options, Post, Protocol, ProviderRequest, Simulator,
    Status, Statuses, lock,
};
use contract::{authorize, read_message, refusal};

/// A running provider that calls back.
pub type Callback = Simulator<CallbackProtocol>;

/// The protocol of seed 3.
pub struct CallbackProtocol {
    /// None if the provider asks for no token.
    token: Option<String>,
    accepted: Mutex<Vec<AcceptedMessage>>,
}

struct AcceptedMessage {
    /// The client's id, which is part of the callback address.
    message_id: String,
    callback_url: String,
    request_id: String,
}

impl Simulator<CallbackProtocol> {
    pub fn start(name: &str, with_token: bool, options: Options) -> anyhow::Result<Self> {
        let token = with_token.then(|| format!("token-{}", Uuid::now_v7()));
        Self::run(
            name,
            options,
            CallbackProtocol {
                token,
                accepted: Mutex::default(),
            },
        )
    }

    /// The token of its client; empty if it asks for none.
    pub fn token(&self) -> &str {
        self.protocol().token.as_deref().unwrap_or_default()
    }

    /// The address to which messages are posted.
    pub fn send_url(&self) -> String {
        format!("{}/send", self.url())
    }

    /// Calls back about an accepted message, with any status.
    pub fn report(&self, message_id: &str, status: &str) -> anyhow::Result<()> {
        let (url, request_id) = self.accepted(message_id)?;
        self.send(vec![callback(url, &request_id, status)]);
        Ok(())
    }

    /// The callback address of an accepted message, and the provider's own id of the message.
    pub fn accepted(&self, message_id: &str) -> anyhow::Result<(String, String)> {
        let accepted = lock(&self.protocol().accepted);
        let found = accepted
            .iter()
            .rev()
            .find(|message| message.message_id == message_id);
        let found = found.context("it never had this message")?;
        Ok((found.callback_url.clone(), found.request_id.clone()))
    }
}

impl Protocol for CallbackProtocol {
    const ACCEPTED_STATUS: StatusCode = StatusCode::OK;
    const REFUSES_SINGLE_MESSAGES: bool = false;

    fn carries_messages(&self, head: &Parts) -> bool {
        head.method == Method::POST && head.uri.path() == "/send"
    }

    fn admit(&self, request: &ProviderRequest) -> Result<Batch, Answer> {
        authorize(&request.head, self.token.as_deref())?;
        let (message, message_id) = read_message(&request.head, &request.body)?;
        Ok(Batch {
            batch_id: String::new(),
            messages: vec![BatchMessage {
                name: message_id,
                number: message.to_number,
            }],
            reports_to: message.callback_url,
        })
    }

    fn accepted(&self, _: &ProviderRequest, batch: &Batch, billed: &Billed) -> Answer {
        lock(&self.accepted).extend(billed.messages.iter().map(|message_id| AcceptedMessage {
            message_id: message_id.clone(),
            callback_url: batch.reports_to.clone(),
            request_id: billed.request_id.clone(),
        }));
        Answer::json(StatusCode::OK, &json!({"message_id": billed.request_id}))
    }

    fn posts(&self, batch: &Batch, request_id: &str, updates: Vec<Statuses>) -> Vec<Post> {
        // The protocol has no CONFIRMED, because its answer says that already. And for a message
        // that was never sent there is no address.
        let is_reported = |(name, status): &(String, Status)| {
            *status != Status::Confirmed
                && batch.messages.iter().any(|message| message.name == *name)
        };
        let updates = updates.into_iter().flatten().filter(is_reported);
        updates
            .map(|(_, status)| callback(batch.reports_to.clone(), request_id, status_text(status)))
            .collect()
    }

    fn refusal(status: StatusCode, _: &str, message: &str) -> Answer {
        refusal(status, message)
    }
}

/// The protocol's text for a status.
fn status_text(status: Status) -> &'static str {
    match status {
        Status::Confirmed => "",
        Status::Delivered => "delivered",
        Status::Failed => "failed",
        Status::Invalid => "invalid",
    }
}

/// A call to a callback address.
fn callback(url: String, request_id: &str, status: &str) -> Post {
    let body = json!({"status": status, "message_id": request_id});
    Box::new(move |client| Ok(client.post(&url).json(&body)))
}
