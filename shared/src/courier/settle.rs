//! Telling the messages what became of their batch.
//!
//! All of this can be repeated by anybody at any time: a message only moves while the batch holds it, and
//! only forward. A move that fails here is found again by the batch that still names the message.

use tracing::warn;

use super::Courier;
use super::attempts::Fate;
use crate::batch::{Answer, Batch, BatchState, Outcome};
use crate::clock;
use crate::id::MessageId;
use crate::message::Message;
use crate::record::RecordError;
use crate::record::batches::Intent;
use crate::record::messages::Messages;
use crate::record::moves::Move;
use crate::state::Reason;

/// Claims after which an error answer ends a message: each of them was offered `attempts_max` times.
const TRIES_MAX: u32 = 3;

impl Courier {
    /// W6: moves the members as their settled batch says, and if it was not sent, as `fate` does.
    pub(super) async fn tell(&self, batch: &Batch, members: &[Message], fate: Fate) {
        let now = clock::now();
        let unsent = |message: &Message| match fate {
            Fate::Keep => Ok(Move::release(message.id, batch.id, now)),
            Fate::Try if message.tries < TRIES_MAX => Ok(Move::release(message.id, batch.id, now)),
            Fate::Try => Move::refuse(message.id, batch.id, Reason::ProviderError, now),
            Fate::Split if members.len() > 1 => Ok(Move::release(message.id, batch.id, now)),
            Fate::Split => Move::refuse(message.id, batch.id, Reason::Rejected, now),
        };
        let moves: Result<Vec<_>, _> = match batch.state {
            BatchState::Confirmed => return confirm_members(&self.messages, batch).await,
            BatchState::Unknown => return self.unconfirm(batch).await,
            BatchState::Rejected => members.iter().map(unsent).collect(),
            // Somebody else acts on it, and will tell.
            BatchState::Started | BatchState::Tomb => return,
        };
        make(&self.messages, batch, moves).await;
    }

    /// W6 of a batch that may have been sent.
    pub(super) async fn unconfirm(&self, batch: &Batch) {
        let now = clock::now();
        let moves = batch.members.iter().map(|id| Move::unconfirm(*id, batch.id, now)).collect();
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
pub async fn confirm_members(messages: &Messages, batch: &Batch) {
    let now = clock::now();
    let moves = batch.members.iter().map(|id| match batch.refused.contains(id) {
        true => Move::refuse(*id, batch.id, Reason::Rejected, now),
        false => Ok(Move::confirm(*id, batch.id, now)),
    });
    make(messages, batch, moves.collect()).await;
}

async fn make(messages: &Messages, batch: &Batch, moves: Result<Vec<Move>, RecordError>) {
    let results = match moves {
        Ok(moves) => messages.make(&moves).await,
        Err(error) => vec![Err(error)],
    };
    let failed = results.iter().filter(|result| result.is_err()).count();
    if failed > 0 {
        warn!(batch_id = %batch.id, failed, "messages could not be told what became of their batch");
    }
}
