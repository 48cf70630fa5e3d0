//! Taking up what another courier left behind.
//!
//! A courier that was stopped leaves claims without a batch, batches without an outcome, or outcomes that
//! their messages were not told. The record says which, and each has one safe way on. When this is done decides
//! how soon a message goes on, never whether it is safe: acting too early costs the other courier its batch.

use std::collections::BTreeMap;

use super::{Courier, Turn, confirm_members};
use crate::batch::{Answer, BatchState, Outcome};
use crate::clock;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::record::RecordError;
use crate::record::batches::Intent;

impl Courier {
    /// Takes up the batches that hold these messages, where they were left behind; returns how many.
    pub async fn recover_holders(&self, held: &[&Message], turn: &Turn) -> Result<usize, RecordError> {
        let mut batches: BTreeMap<BatchId, Vec<MessageId>> = BTreeMap::new();
        for message in held {
            if let Some(batch_id) = message.batch_id {
                batches.entry(batch_id).or_default().push(message.id);
            }
        }
        let mut recovered = 0;
        for (id, held) in batches {
            recovered += usize::from(self.recover(id, &held, turn).await?);
        }
        Ok(recovered)
    }

    /// Takes up a batch that was left behind, which these messages name as theirs; tells whether it was.
    pub async fn recover(&self, id: BatchId, held: &[MessageId], turn: &Turn) -> Result<bool, RecordError> {
        let now = clock::now();
        if id.created_at() + turn.length >= now {
            return Ok(false);
        }
        let found = self.batches.get(&self.provider.name, id).await?;
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
        let settled = self.resend(settled, turn).await?;
        match settled.state {
            BatchState::Confirmed => confirm_members(&self.messages, &settled).await,
            BatchState::Unknown => self.unconfirm(&settled).await,
            BatchState::Rejected | BatchState::Tomb => self.release(&settled, &settled.members).await,
            BatchState::Started => return Ok(false),
        }
        Ok(true)
    }
}
