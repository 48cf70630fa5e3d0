//! What the provider does with a batch: it admits it, accepts and bills it, and sends updates about
//! it.
//!
//! Nothing here knows of connections. A provider continues to work when its client has given up,
//! which is why a client's time-out says nothing about the batch.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::connection::Answer;
use super::ledger::{Billed, Ledger, Outcome, SeenIndex};
use super::mishap::Mishaps;
use super::protocol::{Batch, BatchMessage, Protocol, ProviderRequest};
use super::updates::Updates;
use super::{Options, lock};

/// What the tasks of one provider work with.
pub(super) struct Provider<D> {
    pub(super) protocol: D,
    pub(super) updates: Arc<Updates>,
    shared: Mutex<Shared>,
}

/// Everything that changes, in one mutex that is never locked across an await.
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) mishaps: Mishaps,
    /// The bodies of the requests whose body was read.
    pub(super) bodies: Vec<Bytes>,
}

impl<D: Protocol> Provider<D> {
    pub(super) fn new(options: Options, protocol: D, updates: Arc<Updates>) -> Self {
        let mishaps = Mishaps::new(options.mix, options.seed);
        let shared = Shared {
            ledger: Ledger::default(),
            mishaps,
            bodies: Vec::new(),
        };
        Self {
            protocol,
            updates,
            shared: Mutex::new(shared),
        }
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    pub(super) fn decide(&self, seen: SeenIndex, outcome: Outcome) {
        self.shared().ledger.decided(seen, outcome);
    }

    /// Records an answer with which nothing is accepted: a refusal, or the repeated answer of an
    /// idempotency key.
    pub(super) fn turn_away(&self, seen: SeenIndex, answer: Answer) -> Answer {
        let outcome = match answer.status {
            status if status == D::ACCEPTED_STATUS => Outcome::Replayed,
            refused => Outcome::Refused(refused.as_u16()),
        };
        self.decide(seen, outcome);
        answer
    }

    /// Works on a request for this long, and then accepts it without the recipients that have this
    /// suffix. Updates count as pending from this call on, even before the work is first polled.
    pub(super) fn work(
        self: Arc<Self>,
        request: ProviderRequest,
        seen: SeenIndex,
        pause: Duration,
        refused_suffix: Option<String>,
    ) -> impl Future<Output = Answer> + Send {
        let pending = self.updates.pending();
        async move {
            let _pending = pending;
            let is_refused = |message: &BatchMessage| {
                refused_suffix
                    .as_ref()
                    .is_some_and(|suffix| message.number.ends_with(suffix))
            };
            let batch = match self.protocol.admit(&request) {
                Ok(batch)
                    if !D::REFUSES_SINGLE_MESSAGES && batch.messages.iter().any(is_refused) =>
                {
                    let answer = D::refusal(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "invalid",
                        "a recipient is not welcome",
                    );
                    return self.turn_away(seen, answer);
                }
                Ok(batch) => batch,
                Err(answer) => return self.turn_away(seen, answer),
            };
            tokio::time::sleep(pause).await;
            self.accept(&request, seen, batch, is_refused)
        }
    }

    /// Accepts and bills the batch. The ledger and what the protocol remembers change in one step,
    /// so that no repeated request can come between.
    fn accept(
        &self,
        request: &ProviderRequest,
        seen: SeenIndex,
        batch: Batch,
        is_refused: impl Fn(&BatchMessage) -> bool,
    ) -> Answer {
        let (refused, messages) = batch.messages.into_iter().partition(is_refused);
        let batch = Batch { messages, ..batch };
        let request_id = format!("req_{}", Uuid::now_v7());
        self.updates.follow(&batch.messages, |updates| {
            self.protocol.posts(&batch, &request_id, updates)
        });

        let names = |messages: &[BatchMessage]| {
            messages
                .iter()
                .map(|message| message.name.clone())
                .collect()
        };
        let billed = Billed {
            request_id,
            batch_id: batch.batch_id.clone(),
            at: Timestamp::now(),
            messages: names(&batch.messages),
            refused: names(&refused),
            key: request.key.clone(),
        };
        let mut shared = self.shared();
        let answer = self.protocol.accepted(request, &batch, &billed);
        shared.ledger.decided(seen, Outcome::Billed);
        shared.ledger.bill(billed);
        answer
    }
}
