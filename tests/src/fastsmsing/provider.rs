//! What the provider does with a batch: admit it, take it, bill it, and report on it.
//!
//! Nothing here knows of connections. A provider goes on working when its client has given up,
//! which is exactly why a client's time-out proves nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::contract::{self, Batch, IDEMPOTENT_REPLAYED, Message, refusal};
use super::keys::{Begun, Keys};
use super::ledger::{Billed, Ledger, Outcome, SeenIndex};
use super::misbehave::Mishaps;
use super::updates::Updates;
use super::wire::Answer;
use super::{Options, lock};

pub(super) struct Provider {
    pub(super) token: String,
    pub(super) updates: Arc<Updates>,
    batch_size_max: usize,
    books: Mutex<Books>,
}

/// All that changes, behind one lock that is never held across an await.
pub(super) struct Books {
    pub(super) ledger: Ledger,
    pub(super) mishaps: Mishaps,
    keys: Keys,
}

/// A request to send a batch, read from the wire.
pub(super) struct Call {
    pub(super) head: Parts,
    pub(super) body: Bytes,
    pub(super) key: Option<String>,
    pub(super) seen: SeenIndex,
}

impl Provider {
    pub(super) fn new(options: Options, token: String, updates: Arc<Updates>) -> Self {
        let books = Books {
            ledger: Ledger::default(),
            mishaps: Mishaps::new(options.mix, options.seed),
            keys: Keys::new(Duration::from_secs(options.key_lifetime_s)),
        };
        Self { token, updates, batch_size_max: options.batch_size_max, books: Mutex::new(books) }
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
            StatusCode::ACCEPTED => Outcome::Replayed,
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
        pause: Duration,
        refused_suffix: Option<String>,
    ) -> impl Future<Output = Answer> + Send {
        let open = self.updates.open();
        async move {
            let _open = open;
            let batch = match self.admit(&call) {
                Ok(batch) => batch,
                Err(answer) => return self.turn_away(call.seen, answer),
            };
            tokio::time::sleep(pause).await;
            self.take(&call, batch, refused_suffix.as_deref())
        }
    }

    /// A batch to work on; otherwise the answer.
    fn admit(&self, call: &Call) -> Result<Batch, Answer> {
        contract::authorize(&call.head, &self.token)?;
        let batch = contract::read_batch(&call.head, &call.body, self.batch_size_max)?;
        let Some(key) = &call.key else {
            return Ok(batch);
        };
        match self.books().keys.begin(key, &call.body, Instant::now()) {
            Begun::Fresh => Ok(batch),
            Begun::Again(first) => Err(first.with(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"))),
            Begun::Working => {
                Err(refusal(StatusCode::CONFLICT, "in_work", "a request with this key is being worked on"))
            }
            Begun::Other => Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "this key had another body")),
        }
    }

    /// Bills the batch. Ledger and key change in one step, so that no repeat can come between.
    fn take(&self, call: &Call, batch: Batch, refused_suffix: Option<&str>) -> Answer {
        let (refused, taken): (Vec<Message>, Vec<Message>) = batch
            .messages
            .into_iter()
            .partition(|message| refused_suffix.is_some_and(|suffix| message.phone_number.ends_with(suffix)));
        self.updates.follow(&taken);

        let ids = |messages: Vec<Message>| messages.into_iter().map(|message| message.message_id).collect();
        let billed = Billed {
            request_id: format!("req_{}", Uuid::now_v7()),
            batch_id: batch.batch_id,
            at: Timestamp::now(),
            messages: ids(taken),
            refused: ids(refused),
            key: call.key.clone(),
        };
        let answer = accepted(&billed);
        let mut books = self.books();
        if let Some(key) = &call.key {
            books.keys.answered(key, &answer);
        }
        books.ledger.decided(call.seen, Outcome::Billed);
        books.ledger.bill(billed);
        answer
    }
}

fn accepted(billed: &Billed) -> Answer {
    let refused: Vec<_> =
        billed.refused.iter().map(|id| json!({"message_id": id, "reason": "INVALID_RECIPIENT"})).collect();
    Answer::json(
        StatusCode::ACCEPTED,
        &json!({"request_id": billed.request_id, "accepted": billed.messages.len(), "refused": refused}),
    )
}
