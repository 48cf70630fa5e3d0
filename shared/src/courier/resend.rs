//! Settling a doubt by the provider's own key: the same bytes again, which it answers but does not bill twice.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{Courier, Turn};
use crate::batch::{Batch, BatchState, Outcome};
use crate::clock;
use crate::id::BatchId;
use crate::message::Message;
use crate::provider::{KEY_MARGIN_S, Sent};
use crate::record::RecordError;
use crate::record::batches::Intent;

impl Courier {
    /// Sends an unknown batch again under its key, once, while the provider surely remembers it; returns the
    /// batch as it stands then. Only "taken" settles it: any other answer is one to the repeat alone.
    pub(super) async fn resend(&self, batch: Batch, turn: &Turn) -> Result<Batch, RecordError> {
        let is_ours = batch.provider == self.provider.name;
        if batch.state != BatchState::Unknown || !is_ours || !self.remembers(batch.id, clock::now()) {
            return Ok(batch);
        }
        let Some(members) = self.members(&batch).await? else { return Ok(batch) };
        if self.reach(None, turn).await.is_none() || !self.remembers(batch.id, clock::now()) {
            return Ok(batch);
        }
        let mine = Batch { owner: turn.owner.clone(), deadline: turn.deadline, ..batch };
        let Intent::Written = self.batches.again(&mine, mine.attempts, true, clock::now()).await? else {
            return Ok(mine);
        };
        let sent = self.fastsmsing.send(mine.id, &members).await;
        let outcome = match &sent {
            Sent::Confirmed { request_id, refused, .. } => {
                Outcome::Confirmed { request_id: Some(request_id.clone()), refused: refused.clone() }
            }
            _ => Outcome::Unknown,
        };
        info!(event = "resent", batch_id = %mine.id, attempts = mine.attempts + 1, ?outcome, "sent again under its key");
        let settled = self.batches.settle(&mine.provider, mine.id, &outcome, sent.answer(), clock::now()).await?;
        Ok(settled.unwrap_or(mine))
    }

    /// The provider tells a repeat of this batch by its key, and will until the request has been answered.
    pub(super) fn remembers(&self, id: BatchId, now: Timestamp) -> bool {
        let sure_s = self.provider.key_lifetime_s.saturating_sub(KEY_MARGIN_S);
        now.duration_since(id.created_at()) < SignedDuration::from_secs(i64::try_from(sure_s).unwrap_or(i64::MAX))
    }

    /// The batch's messages in request order, so that the bytes are the same.
    async fn members(&self, batch: &Batch) -> Result<Option<Vec<Message>>, RecordError> {
        let found = self.messages.get_many(&batch.members).await?;
        let mut found: HashMap<_, _> = found.into_iter().map(|message| (message.id, message)).collect();
        let members: Option<Vec<_>> = batch.members.iter().map(|id| found.remove(id)).collect();
        if members.is_none() {
            warn!(batch_id = %batch.id, "a member of an unknown batch is not in the record any more");
        }
        Ok(members)
    }
}
