//! Claiming: from what waits to what one batch holds.

use super::{Courier, Turn};
use crate::clock;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::provider::Connection;
use crate::record::messages::Messages;
use crate::record::moves::{Move, Moved};
use crate::record::range::{Filter, Order, Range, Step, bounds};
use crate::record::{RecordError, state_values};
use crate::state::State;

/// Items that are read of each shard at a time: 16 times that is enough for most batches.
const PAGE_SIZE: usize = 32;
/// Pages that one round reads to find a batch.
const PAGES_MAX: usize = 1_024;

/// What a batch got hold of.
pub(super) struct Claimed {
    pub(super) batch_id: BatchId,
    /// As they are now, in request order.
    pub(super) members: Vec<Message>,
    /// Perhaps claimed: the record did not say.
    pub(super) doubtful: Vec<MessageId>,
}

impl Courier {
    /// Claims the next batch of what waits from `from` on, if there is one to send now.
    pub(super) async fn claim_waiting(
        &self,
        to: &Connection,
        from: &mut MessageId,
        turn: &Turn,
    ) -> Result<Option<Claimed>, RecordError> {
        let mut waiting = waiting(&self.messages, *from)?;
        let mut load = take(&mut waiting, self.plan.size).await?;
        let ids: Vec<_> = load.iter().map(|message| message.id).collect();
        load.truncate(self.plan.next(&ids, clock::now()));
        let Some(last) = load.last() else { return Ok(None) };
        *from = last.id;

        let mut claimed = self.claim(to, load).await;
        // Another courier got some of them first: what waits behind them fills the batch up.
        while claimed.members.len() < self.plan.size {
            // A read that fails now costs fullness only; what is claimed has to be carried or given back.
            let more = take(&mut waiting, self.plan.size - claimed.members.len()).await.unwrap_or_default();
            let Some(last) = more.last() else { break };
            *from = last.id;
            self.claim_more(to, &mut claimed, more).await;
        }
        let ids: Vec<_> = claimed.members.iter().map(|message| message.id).collect();
        if self.plan.next(&ids, clock::now()) > 0 {
            return Ok(Some(claimed));
        }
        if !claimed.members.is_empty() || !claimed.doubtful.is_empty() {
            self.abandon(&self.intent(to, &claimed, turn), &claimed.doubtful).await;
        }
        Ok(None)
    }

    /// Claims messages for a new batch.
    pub(super) async fn claim(&self, to: &Connection, load: Vec<Message>) -> Claimed {
        let mut claimed = Claimed { batch_id: clock::batch_id(), members: Vec::new(), doubtful: Vec::new() };
        self.claim_more(to, &mut claimed, load).await;
        claimed
    }

    async fn claim_more(&self, to: &Connection, claimed: &mut Claimed, load: Vec<Message>) {
        let (batch_id, now) = (claimed.batch_id, clock::now());
        let moves: Vec<_> = load.iter().map(|message| Move::claim(message, batch_id, &to.provider.name, now)).collect();
        let results = self.messages.make(&moves).await;
        for (mut message, result) in load.into_iter().zip(results) {
            match result {
                Ok(Moved::Done) => {}
                // Our own write, whose answer was lost and which the SDK repeated.
                Ok(Moved::Found(Some(found))) if found.state == State::Sending && found.batch_id == Some(batch_id) => {}
                Ok(Moved::Found(_)) => continue,
                Err(_) => {
                    claimed.doubtful.push(message.id);
                    continue;
                }
            }
            message.tries += 1;
            claimed.members.push(message);
        }
    }
}

/// The messages that wait, oldest first, from `from` on.
fn waiting(messages: &Messages, from: MessageId) -> Result<Range, RecordError> {
    let ahead = clock::now() + clock::SKEW_MAX;
    let (_, to) = bounds(ahead, ahead);
    let filter = Filter::default().one_of("state", state_values(&[State::Accepted])?);
    Ok(messages.range(Order::OldestFirst, from, to, filter, PAGE_SIZE, PAGES_MAX))
}

async fn take(range: &mut Range, count: usize) -> Result<Vec<Message>, RecordError> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        match range.next().await? {
            Step::Message(message) => taken.push(*message),
            Step::Paused(_) | Step::End => break,
        }
    }
    Ok(taken)
}
