//! What the provider does with a batch: admit it, take it, bill it, and report on it.
//!
//! Nothing here knows of connections. A provider goes on working when its client has given up,
//! which is exactly why a client's time-out proves nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::dialect::{Batch, Call, Dialect, Subject};
use super::ledger::{Billed, Ledger, Outcome, SeenIndex};
use super::misbehave::Mishaps;
use super::updates::Updates;
use super::wire::Answer;
use super::{Options, lock};

pub(super) struct Provider<D> {
    pub(super) dialect: D,
    pub(super) updates: Arc<Updates>,
    books: Mutex<Books>,
}

/// All that changes, behind one lock that is never held across an await.
pub(super) struct Books {
    pub(super) ledger: Ledger,
    pub(super) mishaps: Mishaps,
    /// Of the requests whose body was read.
    pub(super) bodies: Vec<Bytes>,
}

impl<D: Dialect> Provider<D> {
    pub(super) fn new(options: Options, dialect: D, updates: Arc<Updates>) -> Self {
        let mishaps = Mishaps::new(options.mix, options.seed);
        let books = Books { ledger: Ledger::default(), mishaps, bodies: Vec::new() };
        Self { dialect, updates, books: Mutex::new(books) }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    pub(super) fn decide(&self, seen: SeenIndex, outcome: Outcome) {
        self.books().ledger.decided(seen, outcome);
    }

    /// Notes an answer that takes nothing: a refusal, or the first answer of a key given again.
    pub(super) fn turn_away(&self, seen: SeenIndex, answer: Answer) -> Answer {
        let outcome = match answer.status {
            status if status == D::TAKEN => Outcome::Replayed,
            refused => Outcome::Refused(refused.as_u16()),
        };
        self.decide(seen, outcome);
        answer
    }

    /// Works on a batch for this long, then takes it but for the recipients with this suffix.
    ///
    /// Updates count as open from the call on, before the work is first polled.
    pub(super) fn work(
        self: Arc<Self>,
        call: Call,
        seen: SeenIndex,
        pause: Duration,
        refused_suffix: Option<String>,
    ) -> impl Future<Output = Answer> + Send {
        let open = self.updates.open();
        async move {
            let _open = open;
            let is_refused =
                |message: &Subject| refused_suffix.as_ref().is_some_and(|suffix| message.number.ends_with(suffix));
            let batch = match self.dialect.admit(&call) {
                Ok(batch) if !D::REFUSES_SINGLY && batch.messages.iter().any(is_refused) => {
                    let answer = D::refusal(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "a recipient is not welcome");
                    return self.turn_away(seen, answer);
                }
                Ok(batch) => batch,
                Err(answer) => return self.turn_away(seen, answer),
            };
            tokio::time::sleep(pause).await;
            self.take(&call, seen, batch, is_refused)
        }
    }

    /// Bills the batch. The ledger and what the dialect remembers change in one step, so that no repeat can come
    /// between.
    fn take(&self, call: &Call, seen: SeenIndex, batch: Batch, is_refused: impl Fn(&Subject) -> bool) -> Answer {
        let (refused, messages) = batch.messages.into_iter().partition(is_refused);
        let batch = Batch { messages, ..batch };
        let request_id = format!("req_{}", Uuid::now_v7());
        self.updates.follow(&batch.messages, |course| self.dialect.posts(&batch, &request_id, course));

        let names = |messages: &[Subject]| messages.iter().map(|message| message.name.clone()).collect();
        let billed = Billed {
            request_id,
            batch_id: batch.batch_id.clone(),
            at: Timestamp::now(),
            messages: names(&batch.messages),
            refused: names(&refused),
            key: call.key.clone(),
        };
        let mut books = self.books();
        let answer = self.dialect.billed(call, &batch, &billed);
        books.ledger.decided(seen, Outcome::Billed);
        books.ledger.bill(billed);
        answer
    }
}
