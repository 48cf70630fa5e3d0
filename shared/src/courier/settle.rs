//! Telling the messages what became of their batch.
//!
//! All of this can be repeated by anybody at any time: a message only moves while the batch holds it, and
//! only forward. A move that fails here is found again by the batch that still names the message.

use tracing::warn;

use super::Courier;
use super::attempts::{Fate, Tried};
use crate::batch::{Answer, Batch, BatchState, Outcome};
use crate::clock;
use crate::id::MessageId;
use crate::message::Message;
use crate::record::RecordError;
use crate::record::batches::{Batches, Intent};
use crate::record::messages::Messages;
use crate::record::moves::Move;
use crate::state::Reason;

/// Batches that end in an error answer before their messages are given up: each was offered `attempts_max` times.
const ERRORS_MAX: u32 = 3;

impl Courier {
    /// W5: records how the attempts ended; returns the batch as it stands then.
    pub(super) async fn settle(&self, batch: &Batch, tried: &Tried) -> Result<Option<Batch>, RecordError> {
        let settle = |outcome| async move {
            self.batches.settle(&batch.provider, batch.id, &outcome, &tried.answer, clock::now()).await
        };
        let settled = settle(tried.outcome.clone()).await?;
        // One more attempt was counted by us, by a write whose answer was lost, and then not made.
        match (&tried.outcome, settled) {
            (Outcome::Rejected { attempts }, Some(found))
                if found.state == BatchState::Started
                    && found.owner == batch.owner
                    && found.attempts == attempts + 1 =>
            {
                settle(Outcome::Rejected { attempts: found.attempts }).await
            }
            (_, settled) => Ok(settled),
        }
    }

    /// W6: moves the members as their settled batch says, and if it was not sent, as `fate` does.
    pub(super) async fn tell(&self, batch: &Batch, members: &[Message], fate: Fate) {
        let now = clock::now();
        let unsent = |message: &Message| match fate {
            Fate::Keep => Ok(Move::release(message.id, batch.id, now)),
            Fate::Try if message.errors + 1 < ERRORS_MAX => Ok(Move::release_after_error(message, batch.id, now)),
            Fate::Try => Move::refuse(message.id, batch.id, Reason::ProviderError, now),
            Fate::Split if members.len() > 1 => Ok(Move::release_apart(message.id, batch.id, members.len() / 2, now)),
            Fate::Split => Move::refuse(message.id, batch.id, Reason::Rejected, now),
        };
        let moves: Result<Vec<_>, _> = match batch.state {
            BatchState::Confirmed => return confirm_members(&self.messages, &self.batches, batch).await,
            BatchState::Unknown => return self.unconfirm(batch, &batch.members).await,
            BatchState::Rejected => members.iter().map(unsent).collect(),
            // Somebody else acts on it, and will tell.
            BatchState::Started | BatchState::Tomb => return,
        };
        make(&self.messages, batch, moves).await;
    }

    /// W6 of a batch that may have been sent.
    pub(super) async fn unconfirm(&self, batch: &Batch, ids: &[MessageId]) {
        let now = clock::now();
        let moves = ids.iter().map(|id| Move::unconfirm(*id, batch.id, now)).collect();
        make(&self.messages, batch, Ok(moves)).await;
    }

    /// W8: the messages are no longer this batch's. Only for those that it provably never sends.
    pub(super) async fn release(&self, batch: &Batch, ids: &[MessageId]) {
        let now = clock::now();
        let moves = ids.iter().map(|id| Move::release(*id, batch.id, now)).collect();
        make(&self.messages, batch, Ok(moves)).await;
    }

    /// Nothing was sent of this batch: makes sure that nothing will be (W7), and gives back what was claimed.
    pub(super) async fn abandon(&self, batch: &Batch, doubtful: &[MessageId]) {
        let dead = match self.batches.bury(&Batch { state: BatchState::Tomb, ..batch.clone() }).await {
            Ok(Intent::Written) => true,
            // The intent was written after all, by a write whose answer was lost; nothing followed it.
            Ok(Intent::Lost(_)) => self.reject_unsent(batch).await,
            Err(_) => false,
        };
        if dead {
            self.release(batch, &batch.members).await;
            self.release(batch, doubtful).await;
        } else {
            warn!(batch_id = %batch.id, "a claimed batch was left behind unsent");
        }
    }

    async fn reject_unsent(&self, batch: &Batch) -> bool {
        let outcome = Outcome::Rejected { attempts: batch.attempts };
        let settled = self.batches.settle(&batch.provider, batch.id, &outcome, &Answer::default(), clock::now()).await;
        matches!(settled, Ok(Some(batch)) if batch.state == BatchState::Rejected)
    }
}

/// W6 of a confirmed batch: all its members are sent, but for those that the provider refused.
pub async fn confirm_members(messages: &Messages, batches: &Batches, batch: &Batch) {
    let told = confirm(messages, batch, &batch.members).await;
    if told && !batch.refused.is_empty() {
        close(batches, batch).await;
    }
}

/// W6 of a batch that an operator knows was not sent: with `requeue` its members go out with another one, without it
/// not at all. Returns whether all could be told.
pub async fn disprove_members(messages: &Messages, batches: &Batches, batch: &Batch, requeue: bool) -> bool {
    let now = clock::now();
    let moves = batch.members.iter().map(|id| match requeue {
        true => Ok(Move::requeue(*id, batch.id, now)),
        false => Move::refuse(*id, batch.id, Reason::ProviderError, now),
    });
    let told = make(messages, batch, moves.collect()).await;
    if told {
        close(batches, batch).await;
    }
    told
}

/// All have been told. If this fails, a sweep tells them again, which changes nothing.
async fn close(batches: &Batches, batch: &Batch) {
    if let Err(error) = batches.close(&batch.provider, batch.id, clock::now()).await {
        warn!(%error, batch_id = %batch.id, "a batch was left open");
    }
}

/// W6 of a confirmed batch, for some of its members; whether they could be told.
pub(super) async fn confirm(messages: &Messages, batch: &Batch, ids: &[MessageId]) -> bool {
    let now = clock::now();
    let moves = ids.iter().map(|id| match batch.refused.contains(id) {
        true => Move::refuse_taken(*id, batch.id, now),
        false => Ok(Move::confirm(*id, batch.id, now)),
    });
    make(messages, batch, moves.collect()).await
}

async fn make(messages: &Messages, batch: &Batch, moves: Result<Vec<Move>, RecordError>) -> bool {
    let results = match moves {
        Ok(moves) => messages.make(&moves).await,
        Err(error) => vec![Err(error)],
    };
    let failed = results.iter().filter(|result| result.is_err()).count();
    if failed > 0 {
        warn!(batch_id = %batch.id, failed, "messages could not be told what became of their batch");
    }
    failed == 0
}
