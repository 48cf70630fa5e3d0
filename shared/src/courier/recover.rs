//! Taking up what another courier left behind.
//!
//! A courier that was stopped leaves claims without a batch, batches without an outcome, or outcomes that
//! their messages were not told. The record says which, and each has one safe way on. When this is done decides
//! how soon a message goes on, never whether it is safe: acting too early costs the other courier its batch.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::info;

use super::settle::{confirm, confirm_members, disprove_members};
use super::{Courier, Turn};
use crate::batch::{Answer, Batch, BatchState, Outcome};
use crate::clock;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::record::RecordError;
use crate::record::batches::Intent;

impl Courier {
    /// Takes up the batches that hold these messages, where they were left behind; returns how many.
    pub async fn recover_holders(&self, held: &[&Message], turn: &Turn) -> Result<usize, RecordError> {
        let mut recovered = 0;
        for ((provider, id), held) in holders(held) {
            recovered += usize::from(self.recover(provider, id, &held, turn).await?);
        }
        Ok(recovered)
    }

    /// Tells these UNCONFIRMED messages if the doubt about their batch has been settled in the meantime, and whoever
    /// settled it could not tell them.
    pub async fn tell_doubtful(&self, doubtful: &[&Message]) -> Result<(), RecordError> {
        let holders: Vec<_> = holders(doubtful).into_keys().collect();
        for batch in self.batches.get_many(&holders).await? {
            match (batch.state, batch.requeue) {
                (BatchState::Confirmed, _) => confirm_members(&self.messages, &self.batches, &batch).await,
                (BatchState::Rejected, Some(requeue)) => {
                    disprove_members(&self.messages, &self.batches, &batch, requeue).await;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes up those of a provider's open batches that were left behind; returns how many. Those about which nothing
    /// can be found out cost no more than their part of one reading.
    pub async fn recover_open(&self, provider: &str, ids: &[BatchId], turn: &Turn) -> Result<usize, RecordError> {
        let ids = ids.iter().filter(|id| id.created_at() + turn.length < clock::now());
        let open: Vec<_> = ids.map(|id| (provider, *id)).collect();
        let mut open = self.batches.get_many(&open).await?;
        open.retain(|batch| batch.state != BatchState::Unknown || self.keyed(batch).is_some());
        open.sort_unstable_by_key(|batch| batch.id);
        let mut recovered = 0;
        for batch in open {
            if !self.has_time(turn) {
                break;
            }
            recovered += usize::from(self.recover(provider, batch.id, &[], turn).await?);
        }
        Ok(recovered)
    }

    /// Takes up a batch that was left behind, which these messages name as theirs; tells whether it was.
    ///
    /// The provider is the one that the batch was made for, which the configuration may have renamed since.
    pub async fn recover(
        &self,
        provider: &str,
        id: BatchId,
        held: &[MessageId],
        turn: &Turn,
    ) -> Result<bool, RecordError> {
        let now = clock::now();
        if id.created_at() + turn.length >= now {
            return Ok(false);
        }
        let found = self.batches.get(provider, id).await?;
        let Some(batch) = found else {
            // Claimed, and the intent was not written. Once it is buried it never will be, so nothing was sent.
            let tomb = self.tomb(provider, id, turn);
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
        let (members, strangers): (Vec<_>, Vec<_>) = held.iter().partition(|id| batch.members.contains(id));
        self.release(&batch, &strangers).await;
        let (settled, is_news) = self.find_out(batch, turn, now).await?;
        // What was known before was told before, but to those who still name the batch as theirs.
        let untold = if is_news { &settled.members } else { &members };
        match (settled.state, settled.requeue) {
            // Its refused members may have been told that they were sent.
            (BatchState::Confirmed, _) if !settled.refused.is_empty() => {
                confirm_members(&self.messages, &self.batches, &settled).await;
            }
            (BatchState::Confirmed, _) => {
                confirm(&self.messages, &settled, untold).await;
            }
            (BatchState::Unknown, _) => self.unconfirm(&settled, untold).await,
            // What an operator said outlives the call that it was said in.
            (BatchState::Rejected, Some(requeue)) => {
                disprove_members(&self.messages, &self.batches, &settled, requeue).await;
            }
            (BatchState::Rejected | BatchState::Tomb, _) => self.release(&settled, untold).await,
            (BatchState::Started, _) => return Ok(false),
        }
        Ok(is_news || !held.is_empty())
    }

    /// What can be found out about a batch that nobody works on any more, and whether that is news.
    async fn find_out(&self, batch: Batch, turn: &Turn, now: Timestamp) -> Result<(Batch, bool), RecordError> {
        let known = batch.state;
        let batch = match known {
            // Its request may have been sent, and its answer never came to the record.
            BatchState::Started => {
                let answer = Answer { http_status: None, error: Some("left behind".to_owned()) };
                self.batches.settle(&batch.provider, batch.id, &Outcome::Unknown, &answer, now).await?.unwrap_or(batch)
            }
            _ => batch,
        };
        let settled = self.resend(batch, turn).await?;
        let is_news = settled.state != known;
        if is_news {
            info!(
                event = "recovered",
                provider = settled.provider,
                batch_id = %settled.id,
                messages = settled.members.len(),
                attempts = settled.attempts,
                outcome = ?settled.state,
                "a batch that was left behind"
            );
        }
        Ok((settled, is_news))
    }
}

/// The batches that hold these messages, each by its provider's name.
fn holders<'a>(held: &[&'a Message]) -> BTreeMap<(&'a str, BatchId), Vec<MessageId>> {
    let mut batches: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for message in held {
        if let (Some(provider), Some(batch_id)) = (message.provider.as_deref(), message.batch_id) {
            batches.entry((provider, batch_id)).or_default().push(message.id);
        }
    }
    batches
}
