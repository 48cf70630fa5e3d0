//! Claims waiting messages for one batch (W2). The dispatcher calls it when it holds a slot.
//!
//! The batching rule is asked again after each step, because each may take messages away: those to
//! inactive numbers, and those that another dispatcher claims first.

use std::collections::BTreeSet;

use domain::grouping::Grouping;
use domain::id::{BatchId, MessageId};
use domain::message::Message;
use domain::state::{Reason, State};
use jiff::Timestamp;
use provider::ProviderClient;
use record::filter::Filter;
use record::range::{Order, Range, Step, bounds};
use record::transitions::{Applied, Transition};
use record::{RecordError, clock};
use tracing::warn;

use crate::{Dispatcher, Invocation};

/// Items that are read of each shard at a time: 16 times that is enough for most batches.
const PAGE_SIZE: usize = 32;
/// Pages that are read to find one batch.
const PAGES_MAX: usize = 1_024;
/// Messages that are looked through for those that can share a request with the oldest.
const MATCHES_MAX: usize = 500;

/// What was claimed for a batch.
pub(crate) struct Claimed {
    pub(crate) batch_id: BatchId,
    /// As they are now, in request order.
    pub(crate) members: Vec<Message>,
    /// These may have been claimed: the record did not answer.
    pub(crate) doubtful: Vec<MessageId>,
}

/// What there was to claim.
pub(crate) enum Claim {
    Batch(Claimed),
    /// Nothing of what was picked, but more may wait behind it.
    Passed,
    /// There is no batch to send now, or other dispatchers have claimed all that waits.
    Nothing,
}

/// The waiting messages that were read, oldest first, and where to read on.
pub(crate) struct Waiting {
    pub(crate) from: MessageId,
    read: Vec<Message>,
    rest: Range,
}

impl Claimed {
    /// A new batch, for which nothing is claimed yet.
    fn none() -> Self {
        Self {
            batch_id: clock::batch_id(),
            members: Vec::new(),
            doubtful: Vec::new(),
        }
    }
}

impl Dispatcher {
    /// Reads what waits from `from` on, as much as a batch may need.
    pub(crate) async fn waiting(&self, from: MessageId) -> Result<Waiting, RecordError> {
        let ahead = clock::now() + clock::SKEW_MAX;
        let (_, to) = bounds(ahead, ahead);
        let filter = Filter::default().states(&[State::Accepted])?;
        let mut rest = self
            .record
            .messages
            .range(Order::OldestFirst, (from, to), filter)
            .in_pages(PAGE_SIZE, PAGES_MAX);
        let matches = self
            .clients
            .iter()
            .any(|one| one.provider.grouping() == Grouping::SameText);
        let enough = if matches {
            self.policy.size.max(MATCHES_MAX)
        } else {
            self.policy.size
        };
        let read = take(&mut rest, enough).await?;
        Ok(Waiting { from, read, rest })
    }

    /// The providers for which there is a batch now.
    pub(crate) fn ready_providers(&self, waiting: &Waiting) -> Vec<&ProviderClient> {
        let now = clock::now();
        let is_ready = |to: &&ProviderClient| !self.pick_batch(to, &waiting.read, now).is_empty();
        self.clients.iter().filter(is_ready).collect()
    }

    /// Other dispatchers may be about to claim the same messages. Each would then get half a batch,
    /// or take another provider's slot for nothing, which costs that one its share.
    pub(crate) fn is_contested(&self, waiting: &Waiting) -> bool {
        let shared = waiting.read.len() < self.policy.size || self.clients.len() > 1;
        let several = |to: &&ProviderClient| to.provider.grouping() != Grouping::Single;
        shared && self.ready_providers(waiting).iter().any(several)
    }

    /// Claims the next batch of what waits, if there is one to send now. Returns with it the first
    /// message that was left waiting, from which the next batch is read.
    pub(crate) async fn claim_waiting(
        &self,
        to: &ProviderClient,
        waiting: Waiting,
        invocation: &Invocation,
    ) -> Result<(Claim, MessageId), RecordError> {
        let Waiting {
            from,
            read,
            mut rest,
        } = waiting;
        let Some(last) = read.last().map(|message| message.id) else {
            return Ok((Claim::Nothing, from));
        };
        let (picked, left) = self.split_batch(to, read);
        if picked.is_empty() {
            return Ok((Claim::Nothing, from));
        }
        let mut next = left.first().map_or(last, |message| message.id);
        let picked = self.active(picked).await?;
        if self.pick_batch(to, &picked, clock::now()).is_empty() {
            return Ok((Claim::Passed, next));
        }

        let was_refused = picked[0].batch_max.is_some();
        let mut claimed = Claimed::none();
        self.claim(to, &mut claimed, picked).await;
        // Where another dispatcher got some of them first, what waits behind them fills the batch
        // up. Messages of a refused batch are not mixed with others, and if some that were read did
        // not fit, reading on would only leave out more.
        if left.is_empty() && !was_refused && to.provider.grouping() == Grouping::Any {
            next = self
                .fill_up(to, &mut claimed, &mut rest)
                .await
                .unwrap_or(next);
        }
        if !self
            .pick_batch(to, &claimed.members, clock::now())
            .is_empty()
        {
            return Ok((Claim::Batch(claimed), next));
        }
        if !claimed.members.is_empty() || !claimed.doubtful.is_empty() {
            let intent = self.intent(to, &claimed, invocation);
            self.abandon_unsent(&intent, &claimed.doubtful).await;
        }
        let claim = if left.is_empty() {
            Claim::Nothing
        } else {
            Claim::Passed
        };
        Ok((claim, next))
    }

    /// What a request to this provider carries now of the messages that were read, and the others.
    fn split_batch(&self, to: &ProviderClient, read: Vec<Message>) -> (Vec<Message>, Vec<Message>) {
        let chosen: BTreeSet<_> = self
            .pick_batch(to, &read, clock::now())
            .into_iter()
            .collect();
        let (mut picked, mut left) = (Vec::new(), Vec::new());
        for (n, message) in read.into_iter().enumerate() {
            if chosen.contains(&n) {
                picked.push(message)
            } else {
                left.push(message)
            }
        }
        (picked, left)
    }

    /// Claims of the rest until the batch is full. Returns where it stopped, if it read anything.
    ///
    /// A read that fails costs fullness only: what is claimed has to be sent or released all the
    /// same.
    async fn fill_up(
        &self,
        to: &ProviderClient,
        claimed: &mut Claimed,
        rest: &mut Range,
    ) -> Option<MessageId> {
        let mut stopped = None;
        while claimed.members.len() < to.provider.batch_size {
            let missing = to.provider.batch_size - claimed.members.len();
            let mut more = take(rest, missing).await.unwrap_or_default();
            // Messages of a refused batch go with no others.
            let fitting = more
                .iter()
                .take_while(|message| message.batch_max.is_none())
                .count();
            let Some(next) = more.get(fitting).or(more.last()) else {
                break;
            };
            stopped = Some(next.id);
            let is_last = fitting < more.len();
            more.truncate(fitting);
            let Ok(more) = self.active(more).await else {
                break;
            };
            self.claim(to, claimed, more).await;
            if is_last {
                break;
            }
        }
        stopped
    }

    /// The messages to numbers that are in use. A message whose number became inactive while it
    /// waited ends as NOT_SENT, which costs nothing; a request would.
    async fn active(&self, messages: Vec<Message>) -> Result<Vec<Message>, RecordError> {
        let recipients: Vec<_> = messages.iter().map(|message| &message.recipient).collect();
        let inactive = self.record.numbers.inactive(&recipients).await?;
        if inactive.is_empty() {
            return Ok(messages);
        }
        let (refused, active): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|message| inactive.contains(&message.recipient));
        let (now, reason) = (clock::now(), Reason::RecipientInactive);
        let transitions = refused
            .iter()
            .map(|message| Transition::refuse_waiting(message.id, reason, now));
        let transitions = transitions.collect::<Result<Vec<_>, _>>()?;
        let applied = self.record.messages.apply(&transitions).await;
        let failed = applied.iter().filter(|result| result.is_err()).count();
        if failed > 0 {
            warn!(
                failed,
                "messages to inactive numbers could not be ended; the next dispatcher tries again"
            );
        }
        Ok(active)
    }

    fn pick_batch(&self, to: &ProviderClient, waiting: &[Message], now: Timestamp) -> Vec<usize> {
        self.policy
            .pick_batch(waiting, to.provider.batch_size, to.provider.grouping(), now)
    }

    /// W2 of these messages, for this batch.
    async fn claim(&self, to: &ProviderClient, claimed: &mut Claimed, messages: Vec<Message>) {
        let (batch_id, provider, now) = (claimed.batch_id, &to.provider.name, clock::now());
        let claims: Vec<_> = messages
            .iter()
            .map(|message| Transition::claim(message, batch_id, provider, now))
            .collect();
        let results = self.record.messages.apply(&claims).await;
        let is_own =
            |found: &Message| found.state == State::Sending && found.batch_id == Some(batch_id);
        for (mut message, result) in messages.into_iter().zip(results) {
            match result {
                Ok(Applied::Done) => {}
                // Our own write, whose answer was lost and which the SDK repeated.
                Ok(Applied::Found(Some(found))) if is_own(&found) => {}
                Ok(Applied::Found(_)) => continue,
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
