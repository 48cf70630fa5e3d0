//! Settles a doubt by the provider's own idempotency key (W4, W5): the same bytes are sent again,
//! and the provider answers them without billing them twice.

use std::collections::HashMap;

use domain::batch::Batch;
use domain::message::Message;
use provider::ProviderClient;
use record::batches::IntentResult;
use record::{RecordError, clock, crash};
use tracing::{info, warn};

use crate::{Dispatcher, Invocation};

impl Dispatcher {
    /// Sends an UNKNOWN batch once more under its key, if the provider is certain to remember that;
    /// returns the batch as it stands then. Only "taken" settles it: any other answer is about the
    /// repeat alone.
    pub(crate) async fn resend(
        &self,
        batch: Batch,
        invocation: &Invocation,
    ) -> Result<Batch, RecordError> {
        let Some(to) = self.keyed_client(&batch) else {
            return Ok(batch);
        };
        let Some(members) = self.members(&batch).await? else {
            return Ok(batch);
        };
        // The key may have grown too old while this waited for a slot.
        if !self.wait_for_slot(to, invocation).await || self.keyed_client(&batch).is_none() {
            return Ok(batch);
        }
        let mine = Batch {
            owner: invocation.owner.clone(),
            deadline: invocation.deadline,
            ..batch
        };
        let counted = self
            .record
            .batches
            .count_attempt(&mine, mine.attempts, true, clock::now())
            .await?;
        if counted != IntentResult::Written {
            return Ok(mine);
        }
        let sent = crash::around("send a batch", to.send(mine.id, &members)).await;
        self.record_result(to, members.len(), &sent).await;
        let (id, attempts, outcome) = (mine.id, mine.attempts + 1, sent.outcome());
        info!(
            event = "resent",
            batch_id = %id,
            attempts,
            ?outcome,
            "a batch in doubt was sent again under its key"
        );
        let now = clock::now();
        let settled = self
            .record
            .batches
            .settle((&mine.provider, id), &outcome, sent.answer(), now)
            .await?;
        Ok(settled.unwrap_or(mine))
    }

    /// The batch's provider, while it is certain to remember the batch's key. One that has left the
    /// configuration cannot be asked.
    pub(crate) fn keyed_client(&self, batch: &Batch) -> Option<&ProviderClient> {
        let to = self
            .clients
            .iter()
            .find(|client| client.provider.name == batch.provider);
        to.filter(|to| to.provider.remembers(batch.id, clock::now()))
    }

    /// The batch's messages in request order, so that the bytes are the same.
    async fn members(&self, batch: &Batch) -> Result<Option<Vec<Message>>, RecordError> {
        let found = self.record.messages.get_many(&batch.members).await?;
        let mut found: HashMap<_, _> = found
            .into_iter()
            .map(|message| (message.id, message))
            .collect();
        let members: Option<Vec<_>> = batch.members.iter().map(|id| found.remove(id)).collect();
        if members.is_none() {
            warn!(
                batch_id = %batch.id,
                "a batch in doubt cannot be sent again: a member has left the record"
            );
        }
        Ok(members)
    }
}
