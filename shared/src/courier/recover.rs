//! Taking up what another courier left behind.
//!
//! A courier that was stopped leaves claims without a batch, batches without an outcome, or outcomes that
//! their messages were not told. The record says which, and each has one safe way on. When this is done decides
//! how soon a message goes on, never whether it is safe: acting too early costs the other courier its batch.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Courier, Turn, confirm_members};
use crate::batch::{Answer, Batch, BatchState, Outcome};
use crate::clock;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::record::RecordError;
use crate::record::batches::Intent;

impl Courier {
    /// Takes up the batches that hold these messages, where they were left behind; returns how many.
    pub async fn recover(&self, held: &[&Message], turn: &Turn) -> Result<usize, RecordError> {
        let now = clock::now();
        let mut batches: BTreeMap<BatchId, Vec<MessageId>> = BTreeMap::new();
        for message in held {
            if let Some(batch_id) = message.batch_id.filter(|id| id.created_at() + turn.length < now) {
                batches.entry(batch_id).or_default().push(message.id);
            }
        }
        let mut recovered = 0;
        for (id, held) in batches {
            let found = self.batches.get(&self.provider.name, id).await?;
            recovered += usize::from(self.recover_batch(id, found, &held, turn, now).await?);
        }
        Ok(recovered)
    }

    async fn recover_batch(
        &self,
        id: BatchId,
        found: Option<Batch>,
        held: &[MessageId],
        turn: &Turn,
        now: Timestamp,
    ) -> Result<bool, RecordError> {
        let Some(batch) = found else {
            // Claimed, and the intent was not written. Once it is buried it never will be, so nothing was sent.
            let tomb = self.tomb(id, turn);
            return match self.batches.bury(&tomb).await? {
                Intent::Written => {
                    self.release(&tomb, held).await;
                    Ok(true)
                }
                // It was written just now: its courier lives.
                Intent::Lost(_) => Ok(false),
            };
        };
        if batch.state == BatchState::Started && batch.deadline >= now {
            return Ok(false);
        }
        // Claimed for it in vain: it was sent, or buried, without them.
        let strangers: Vec<_> = held.iter().copied().filter(|id| !batch.members.contains(id)).collect();
        self.release(&batch, &strangers).await;
        let settled = match batch.state {
            // Its request may have been sent, and its answer never came to the record.
            BatchState::Started => {
                let answer = Answer { http_status: None, error: Some("left behind".to_owned()) };
                self.batches.settle(&batch.provider, id, &Outcome::Unknown, &answer, now).await?.unwrap_or(batch)
            }
            _ => batch,
        };
        match settled.state {
            BatchState::Confirmed => confirm_members(&self.messages, &settled).await,
            BatchState::Unknown => self.unconfirm(&settled).await,
            BatchState::Rejected | BatchState::Tomb => self.release(&settled, &settled.members).await,
            BatchState::Started => return Ok(false),
        }
        Ok(true)
    }
}
