//! What a protocol adds to a simulated provider: how requests, answers and reports are written.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::http::request::Parts;

use super::course::Told;
use super::ledger::{Billed, Ledger};
use super::updates::Post;
use super::wire::Answer;

/// A request that carries messages, read from the wire.
pub struct Call {
    pub head: Parts,
    pub body: Bytes,
    /// Its idempotency key.
    pub key: Option<String>,
}

/// A batch, as far as every protocol knows one.
pub struct Batch {
    /// The client's name for the request; empty where the protocol has none.
    pub batch_id: String,
    pub messages: Vec<Subject>,
    /// Where its reports go, if the request says so.
    pub reports_to: String,
}

/// A message, as a report and the ledger name it.
pub struct Subject {
    pub name: String,
    /// The recipient's.
    pub number: String,
}

/// One protocol.
pub trait Dialect: Send + Sync + 'static {
    /// How a request that is taken is answered.
    const TAKEN: StatusCode;
    /// Single messages of a request can be refused; otherwise one bad one spoils all.
    const REFUSES_SINGLY: bool;

    /// The request carries messages.
    fn carries(&self, head: &Parts) -> bool;

    /// The batch to work on; otherwise the answer.
    fn admit(&self, call: &Call) -> Result<Batch, Answer>;

    /// The answer to a batch that was just billed.
    fn billed(&self, call: &Call, batch: &Batch, billed: &Billed) -> Answer;

    /// The posts that tell a course of updates.
    fn posts(&self, batch: &Batch, request_id: &str, course: Vec<Told>) -> Vec<Post>;

    /// An error answer. The words never repeat what the client said.
    fn refusal(status: StatusCode, code: &str, words: &str) -> Answer;

    /// The answer to a request that carries nothing.
    fn aside(&self, _: &Parts, _: &Ledger) -> Answer {
        Self::refusal(StatusCode::NOT_FOUND, "not_found", "no such address")
    }
}
