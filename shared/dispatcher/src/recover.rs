//! Goes on with what another dispatcher left behind (W5 to W8); [`domain::recovery`] says what
//! there is to do in each case. `dispatch` calls it for the messages of its bells, `sweep` for all.

use std::collections::BTreeMap;

use domain::batch::{Answer, Batch, BatchState, Outcome};
use domain::id::{BatchId, MessageId};
use domain::message::Message;
use domain::recovery::{FoundBatch, RecoveryStep, next_step};
use record::batches::IntentResult;
use record::{RecordError, clock};
use tracing::info;

use crate::outcome::apply_to_all;
use crate::{Dispatcher, Invocation, tombstone};

impl Dispatcher {
    /// Recovers the batches that hold these messages, where they were left behind; returns how
    /// many.
    pub async fn recover_holders(
        &self,
        held: &[&Message],
        invocation: &Invocation,
    ) -> Result<usize, RecordError> {
        let mut recovered = 0;
        for ((provider, id), held) in holders(held) {
            recovered += usize::from(self.recover(provider, id, &held, invocation).await?);
        }
        Ok(recovered)
    }

    /// Applies to these UNCONFIRMED messages what has become of their batch, if the doubt about it
    /// was settled by a process that stopped before it had applied the outcome.
    pub async fn apply_to_doubtful(&self, doubtful: &[&Message]) -> Result<(), RecordError> {
        let holders: Vec<_> = holders(doubtful).into_keys().collect();
        for batch in self.record.batches.get_many(&holders).await? {
            let decided = batch.state == BatchState::Rejected && batch.requeue.is_some();
            if batch.state == BatchState::Confirmed || decided {
                apply_to_all(&self.record.messages, &self.record.batches, &batch).await;
            }
        }
        Ok(())
    }

    /// Recovers those of a provider's open batches that were left behind; returns how many. Batches
    /// that only a report or an operator can settle cost no more than their part of one read.
    pub async fn recover_open(
        &self,
        provider: &str,
        ids: &[BatchId],
        invocation: &Invocation,
    ) -> Result<usize, RecordError> {
        let ids = ids
            .iter()
            .filter(|id| id.created_at() + invocation.length < clock::now());
        let open: Vec<_> = ids.map(|id| (provider, *id)).collect();
        let mut open = self.record.batches.get_many(&open).await?;
        open.retain(|batch| {
            batch.state != BatchState::Unknown || self.keyed_client(batch).is_some()
        });
        open.sort_unstable_by_key(|batch| batch.id);
        let mut recovered = 0;
        for batch in open {
            if !self.has_time(invocation) {
                break;
            }
            recovered += usize::from(self.recover(provider, batch.id, &[], invocation).await?);
        }
        Ok(recovered)
    }

    /// Recovers a batch that was left behind, which the messages `held` name as theirs; returns
    /// whether it was.
    ///
    /// `provider` is the one that the batch was made for, which the configuration may have renamed
    /// since.
    pub async fn recover(
        &self,
        provider: &str,
        id: BatchId,
        held: &[MessageId],
        invocation: &Invocation,
    ) -> Result<bool, RecordError> {
        // However it looks, its dispatcher may still be at work.
        if id.created_at() + invocation.length >= clock::now() {
            return Ok(false);
        }
        let found = self.record.batches.get(provider, id).await?;
        let step = next_step(found.as_ref().map(|batch| self.as_found(batch)));
        let Some(batch) = found else {
            return self.abandon_claims(provider, id, held, invocation).await;
        };
        if step == RecoveryStep::Wait {
            return Ok(false);
        }
        // Claimed for it in vain: it was sent, or abandoned, without them.
        let (members, non_members): (Vec<_>, Vec<_>) =
            held.iter().partition(|id| batch.members.contains(id));
        self.release(&batch, &non_members).await;
        let known = batch.state;
        let settled = self.settle_left_behind(batch, invocation).await?;
        let changed = settled.state != known;
        if settled.state == BatchState::Started {
            return Ok(false);
        }
        if settled.stays_open() {
            apply_to_all(&self.record.messages, &self.record.batches, &settled).await;
        } else {
            // What was known before was applied before, except to those that still name the batch
            // as theirs.
            let pending = if changed { &settled.members } else { &members };
            self.apply_to_some(&settled, pending).await;
        }
        Ok(changed || !held.is_empty())
    }

    /// The claims have no batch, so the intent was not written. Once the tombstone is, it never
    /// will be.
    async fn abandon_claims(
        &self,
        provider: &str,
        id: BatchId,
        held: &[MessageId],
        invocation: &Invocation,
    ) -> Result<bool, RecordError> {
        let tombstone = tombstone(provider, id, invocation);
        match self.record.batches.abandon(&tombstone).await? {
            IntentResult::Written => {
                self.release(&tombstone, held).await;
                Ok(true)
            }
            // The intent was written just now: its dispatcher lives.
            IntentResult::Lost(_) => Ok(false),
        }
    }

    /// Settles a batch as far as it can be: STARTED becomes UNKNOWN, and UNKNOWN is sent again
    /// under its key.
    async fn settle_left_behind(
        &self,
        mut batch: Batch,
        invocation: &Invocation,
    ) -> Result<Batch, RecordError> {
        let known = batch.state;
        if next_step(Some(self.as_found(&batch))) == RecoveryStep::RecordDoubt {
            let answer = Answer {
                http_status: None,
                error: Some("left behind".to_owned()),
            };
            let (outcome, now) = (Outcome::Unknown, clock::now());
            let settled =
                self.record
                    .batches
                    .settle((&batch.provider, batch.id), &outcome, &answer, now);
            batch = settled.await?.unwrap_or(batch);
        }
        if next_step(Some(self.as_found(&batch))) == RecoveryStep::Resend {
            batch = self.resend(batch, invocation).await?;
        }
        if batch.state != known {
            info!(
                event = "recovered",
                provider = batch.provider,
                batch_id = %batch.id,
                messages = batch.members.len(),
                attempts = batch.attempts,
                outcome = ?batch.state,
                "a batch that was left behind is settled"
            );
        }
        Ok(batch)
    }

    fn as_found(&self, batch: &Batch) -> FoundBatch {
        FoundBatch {
            state: batch.state,
            attended: batch.deadline >= clock::now(),
            key_lives: self.keyed_client(batch).is_some(),
        }
    }
}

/// The batches that hold these messages, each by its provider's name.
fn holders<'a>(held: &[&'a Message]) -> BTreeMap<(&'a str, BatchId), Vec<MessageId>> {
    let mut batches: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for message in held {
        if let (Some(provider), Some(batch_id)) = (message.provider.as_deref(), message.batch_id) {
            batches
                .entry((provider, batch_id))
                .or_default()
                .push(message.id);
        }
    }
    batches
}
