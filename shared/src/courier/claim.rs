//! Claiming: from what waits to what one batch holds.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tracing::warn;

use super::{Courier, Turn};
use crate::clock;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::provider::Connection;
use crate::record::moves::{Move, Moved};
use crate::record::range::{Filter, Order, Range, Step, bounds};
use crate::record::{RecordError, state_values};
use crate::shape::Shape;
use crate::state::{Reason, State};

/// Items that are read of each shard at a time: 16 times that is enough for most batches.
const PAGE_SIZE: usize = 32;
/// Pages that one round reads to find a batch.
const PAGES_MAX: usize = 1_024;
/// Messages that are looked through for those that can share a request with the oldest.
const MATCHES_MAX: usize = 500;

/// What a batch got hold of.
pub(super) struct Claimed {
    pub(super) batch_id: BatchId,
    /// As they are now, in request order.
    pub(super) members: Vec<Message>,
    /// Perhaps claimed: the record did not say.
    pub(super) doubtful: Vec<MessageId>,
}

/// What there was to claim.
pub(super) enum Claim {
    Batch(Claimed),
    /// Not these, but others may wait behind them.
    Passed,
    Nothing,
}

/// What was read of the messages that wait, oldest first, and the rest that was not.
pub(super) struct Waiting {
    read: Vec<Message>,
    rest: Range,
}

impl Courier {
    /// Reads what waits from `from` on, as much as a batch may need.
    pub(super) async fn waiting(&self, from: MessageId) -> Result<Waiting, RecordError> {
        let ahead = clock::now() + clock::SKEW_MAX;
        let (_, to) = bounds(ahead, ahead);
        let filter = Filter::default().one_of("state", state_values(&[State::Accepted])?);
        let mut rest = self.messages.range(Order::OldestFirst, from, to, filter, PAGE_SIZE, PAGES_MAX);
        let matches = self.connections.iter().any(|one| one.provider.shape() == Shape::SameText);
        let read = take(&mut rest, if matches { self.plan.size.max(MATCHES_MAX) } else { self.plan.size }).await?;
        Ok(Waiting { read, rest })
    }

    /// The providers for which there is a batch now.
    pub(super) fn able(&self, waiting: &Waiting) -> Vec<&Connection> {
        let now = clock::now();
        self.connections.iter().filter(|to| !self.load(to, &waiting.read, now).is_empty()).collect()
    }

    /// There is a batch of several messages, which others may claim now as well, and halve it; or, where a full batch
    /// leaves enough for all, they take a slot of another provider for nothing, which costs that one its equal share.
    pub(super) fn is_contested(&self, waiting: &Waiting) -> bool {
        let shared = waiting.read.len() < self.plan.size || self.connections.len() > 1;
        shared && self.able(waiting).iter().any(|to| to.provider.shape() != Shape::Single)
    }

    /// Claims the next batch of what waits, if there is one to send now. Moves `from` to the first message that was
    /// left waiting.
    pub(super) async fn claim_waiting(
        &self,
        to: &Connection,
        waiting: Waiting,
        from: &mut MessageId,
        turn: &Turn,
    ) -> Result<Claim, RecordError> {
        let Waiting { read, mut rest } = waiting;
        let chosen: BTreeSet<_> = self.load(to, &read, clock::now()).into_iter().collect();
        let Some(last) = read.last().map(|message| message.id).filter(|_| !chosen.is_empty()) else {
            return Ok(Claim::Nothing);
        };
        let (load, left): (Vec<_>, Vec<_>) = read.into_iter().enumerate().partition(|(n, _)| chosen.contains(n));
        *from = left.first().map_or(last, |(_, message)| message.id);
        let load = self.active(load.into_iter().map(|(_, message)| message).collect()).await?;
        if self.load(to, &load, clock::now()).is_empty() {
            return Ok(Claim::Passed);
        }

        let apart = load[0].batch_max;
        let mut claimed = self.claim(to, load).await;
        // Another courier got some of them first: what waits behind them fills the batch up.
        let mut fills = left.is_empty() && apart.is_none() && to.provider.shape() == Shape::Any;
        while fills && claimed.members.len() < to.provider.batch_size {
            // A read that fails now costs fullness only; what is claimed has to be carried or given back.
            let mut more = take(&mut rest, to.provider.batch_size - claimed.members.len()).await.unwrap_or_default();
            // Those that a provider refused together go with nobody else.
            let fitting = more.iter().take_while(|message| message.batch_max.is_none()).count();
            let Some(next) = more.get(fitting).or(more.last()) else { break };
            *from = next.id;
            fills = fitting == more.len();
            more.truncate(fitting);
            let Ok(more) = self.active(more).await else { break };
            self.claim_more(to, &mut claimed, more).await;
        }
        if !self.load(to, &claimed.members, clock::now()).is_empty() {
            return Ok(Claim::Batch(claimed));
        }
        if !claimed.members.is_empty() || !claimed.doubtful.is_empty() {
            self.abandon(&self.intent(to, &claimed, turn), &claimed.doubtful).await;
        }
        Ok(if left.is_empty() { Claim::Nothing } else { Claim::Passed })
    }

    /// The messages to numbers that are in use. What waits for a number that became inactive in the meantime ends as
    /// NOT_SENT: that costs nothing, a request would.
    async fn active(&self, messages: Vec<Message>) -> Result<Vec<Message>, RecordError> {
        let recipients: Vec<_> = messages.iter().map(|message| &message.recipient).collect();
        let inactive = self.numbers.inactive(&recipients).await?;
        if inactive.is_empty() {
            return Ok(messages);
        }
        let (refused, active): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| inactive.contains(&message.recipient));
        let now = clock::now();
        let moves = refused.iter().map(|message| Move::refuse_waiting(message.id, Reason::RecipientInactive, now));
        let moves = moves.collect::<Result<Vec<_>, _>>()?;
        let failed = self.messages.make(&moves).await.iter().filter(|result| result.is_err()).count();
        if failed > 0 {
            warn!(failed, "messages to inactive numbers still wait");
        }
        Ok(active)
    }

    /// Claims messages for a new batch.
    pub(super) async fn claim(&self, to: &Connection, load: Vec<Message>) -> Claimed {
        let mut claimed = Claimed { batch_id: clock::batch_id(), members: Vec::new(), doubtful: Vec::new() };
        self.claim_more(to, &mut claimed, load).await;
        claimed
    }

    fn load(&self, to: &Connection, waiting: &[Message], now: Timestamp) -> Vec<usize> {
        self.plan.load(waiting, to.provider.batch_size, to.provider.shape(), now)
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
