//! What each protocol adds to a simulated provider: how requests are read, and how answers and
//! updates are written.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::http::request::Parts;

use super::connection::Answer;
use super::ledger::{Billed, Ledger};
use super::update_sequence::Statuses;
use super::updates::Post;

/// A request that carries messages, with its whole body.
pub struct ProviderRequest {
    pub head: Parts,
    pub body: Bytes,
    /// The idempotency key.
    pub key: Option<String>,
}

/// What every protocol knows of a batch.
pub struct Batch {
    /// The client's id of the batch; empty if the protocol has none.
    pub batch_id: String,
    pub messages: Vec<BatchMessage>,
    /// The address for updates, if the request has one.
    pub reports_to: String,
}

/// A message of a batch.
pub struct BatchMessage {
    /// The name by which updates and the ledger refer to it.
    pub name: String,
    /// The recipient's phone number.
    pub number: String,
}

/// The protocol of a provider.
pub trait Protocol: Send + Sync + 'static {
    /// The status of the answer to an accepted request.
    const ACCEPTED_STATUS: StatusCode;
    /// Whether single messages can be refused. If not, one bad message makes the whole request
    /// fail.
    const REFUSES_SINGLE_MESSAGES: bool;

    /// Whether the request carries messages.
    fn carries_messages(&self, head: &Parts) -> bool;

    /// The batch of a request; an error is the answer to a request that is not to be worked on.
    fn admit(&self, request: &ProviderRequest) -> Result<Batch, Answer>;

    /// The answer to a request that was just billed.
    fn accepted(&self, request: &ProviderRequest, batch: &Batch, billed: &Billed) -> Answer;

    /// The requests that deliver these updates.
    fn posts(&self, batch: &Batch, request_id: &str, updates: Vec<Statuses>) -> Vec<Post>;

    /// An error answer. Its message never repeats anything of the request.
    fn refusal(status: StatusCode, code: &str, message: &str) -> Answer;

    /// The answer to a request that carries no messages.
    fn answer_other(&self, _: &Parts, _: &Ledger) -> Answer {
        Self::refusal(StatusCode::NOT_FOUND, "not_found", "no such address")
    }
}
