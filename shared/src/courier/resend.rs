//! Settling a doubt by the provider's own key: the same bytes again, which it answers but does not bill twice.

use std::collections::HashMap;

use tracing::{info, warn};

use super::{Courier, Turn};
use crate::batch::{Batch, BatchState, Outcome};
use crate::clock;
use crate::message::Message;
use crate::provider::{Connection, Sent};
use crate::record::RecordError;
use crate::record::batches::Intent;

impl Courier {
    /// Sends an unknown batch again under its key, once, while the provider surely remembers it; returns the
    /// batch as it stands then. Only "taken" settles it: any other answer is one to the repeat alone.
    pub(super) async fn resend(&self, batch: Batch, turn: &Turn) -> Result<Batch, RecordError> {
        let Some(to) = self.keyed(&batch).filter(|_| batch.state == BatchState::Unknown) else { return Ok(batch) };
        let Some(members) = self.members(&batch).await? else { return Ok(batch) };
        if self.reach(to, turn).await.is_none() || self.keyed(&batch).is_none() {
            return Ok(batch);
        }
        let mine = Batch { owner: turn.owner.clone(), deadline: turn.deadline, ..batch };
        let Intent::Written = self.batches.again(&mine, mine.attempts, true, clock::now()).await? else {
            return Ok(mine);
        };
        let sent = to.send(mine.id, &members).await;
        self.learn(to, members.len(), &sent).await;
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

    /// The batch's provider, while it surely remembers the batch's key. One that is no longer configured can't be asked.
    pub(super) fn keyed(&self, batch: &Batch) -> Option<&Connection> {
        let to = self.connections.iter().find(|connection| connection.provider.name == batch.provider);
        to.filter(|to| to.provider.remembers(batch.id, clock::now()))
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
