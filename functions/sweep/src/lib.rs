//! Woken by the clock, finds what nobody rings for any more: messages whose bell was lost, claims and
//! batches that a courier left behind, and what has waited too long to be sent at all.
//!
//! All that it does is conditional and can be done twice, by two sweeps at once or by a dispatcher: the
//! sweep only decides how soon a message goes on.

use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent};
use serde::{Deserialize, Serialize};
use shared::clock;
use shared::config::{Refused, Source};
use shared::courier::{Courier, Turn};
use shared::id::{BatchId, MessageId};
use shared::message::{Message, VALIDITY_MAX_S};
use shared::queue::{BELL_IDS_MAX, Bell, Queue};
use shared::record::RecordError;
use shared::record::moves::{Move, Moved};
use shared::record::range::{Filter, Order, Step, bounds};
use shared::record::state_values;
use shared::state::State;
use tracing::{info, warn};

/// How far back the frequent sweep looks, beyond the batch window: bells that were lost lately.
const RECENT_S: i64 = 15 * 60;
/// A message that is due for so long has lost its bell, unless the queue is behind.
const OVERDUE_S: i64 = 10;
/// Messages that are dealt with at a time.
const GROUP_MAX: usize = 500;
/// Open batches that are listed at a time.
const BATCHES_PAGE: usize = 100;
/// Items of one query, and queries of one sweep.
const PAGE_SIZE: usize = 256;
const PAGES_MAX: usize = 20_000;

pub struct App {
    courier: Courier,
    queue: Queue,
}

/// What the clock asks for.
#[derive(Deserialize)]
pub struct Tick {
    reach: Reach,
}

/// How far back to look.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reach {
    Recent,
    /// Everything that may still be valid.
    All,
}

/// What a sweep did.
#[derive(Debug, Default, Serialize)]
pub struct Swept {
    /// Batches that were taken up.
    recovered: usize,
    /// Messages that are past their `valid_until` and will not be sent.
    expired: usize,
    /// Messages that a bell was rung for.
    rung: usize,
    /// Messages that are overdue while the queue still holds their bells.
    waiting: usize,
}

impl App {
    pub fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>, aws: &SdkConfig) -> Result<Self, Refused> {
        Ok(Self { courier: source.courier(aws)?, queue: Queue::new(aws, source.text("QUEUE_URL")?) })
    }

    pub async fn handle(&self, event: LambdaEvent<Tick>) -> Result<Swept, Error> {
        let turn = Turn::of(&event.context.request_id, event.context.deadline);
        let window = self.courier.plan.window;
        let back = match event.payload.reach {
            Reach::Recent => SignedDuration::from_secs(RECENT_S) + window,
            Reach::All => SignedDuration::from_secs(VALIDITY_MAX_S) + window,
        };
        let since = clock::now() - back;
        // The messages first: whatever there is to find out about batches, it must not keep them waiting.
        let mut swept = Swept::default();
        let messages = self.sweep_messages(since, &turn, &mut swept).await;
        swept.recovered += self.sweep_batches(since, &turn).await?;
        messages?;
        info!(event = "swept", ?swept, "swept");
        Ok(swept)
    }

    /// Batches without an outcome, also those whose messages have all been told; and those with an outcome that some
    /// may not have been told.
    async fn sweep_batches(&self, since: Timestamp, turn: &Turn) -> Result<usize, RecordError> {
        let mut recovered = 0;
        for connection in &self.courier.connections {
            recovered += self.sweep_batches_of(&connection.provider.name, since, turn).await?;
        }
        Ok(recovered)
    }

    async fn sweep_batches_of(&self, provider: &str, since: Timestamp, turn: &Turn) -> Result<usize, RecordError> {
        let (mut from, mut recovered) = (BatchId::first_of(since), 0);
        while self.courier.has_time(turn) {
            let page = self.courier.batches.open(provider, from, BATCHES_PAGE).await?;
            recovered += self.courier.recover_open(provider, &page, turn).await?;
            match page.last() {
                Some(last) if page.len() == BATCHES_PAGE => from = last.after(),
                _ => break,
            }
        }
        Ok(recovered)
    }

    /// Messages that wait, are claimed or in doubt, group by group.
    async fn sweep_messages(&self, since: Timestamp, turn: &Turn, swept: &mut Swept) -> Result<(), RecordError> {
        let (from, to) = bounds(since, clock::now());
        let filter =
            Filter::default().one_of("state", state_values(&[State::Accepted, State::Sending, State::Unconfirmed])?);
        let mut open = self.courier.messages.range(Order::OldestFirst, from, to, filter, PAGE_SIZE, PAGES_MAX);
        let mut more = true;
        while more && self.courier.has_time(turn) {
            let mut group = Vec::new();
            while more && group.len() < GROUP_MAX {
                match open.next().await? {
                    Step::Message(message) => group.push(*message),
                    Step::Paused(_) | Step::End => more = false,
                }
            }
            self.sweep_group(&group, turn, swept).await?;
        }
        Ok(())
    }

    async fn sweep_group(&self, group: &[Message], turn: &Turn, swept: &mut Swept) -> Result<(), RecordError> {
        let now = clock::now();
        let waiting = group.iter().filter(|message| message.state == State::Accepted);
        let (valid, expired): (Vec<_>, Vec<_>) = waiting.partition(|message| message.valid_until > now);
        swept.expired += self.expire(&expired, now).await?;

        let overdue_from = now - self.courier.plan.window - SignedDuration::from_secs(OVERDUE_S);
        let overdue: Vec<_> =
            valid.iter().map(|message| message.id).filter(|id| id.created_at() <= overdue_from).collect();
        self.ring(&overdue, swept).await;

        let held: Vec<_> = group.iter().filter(|message| message.state == State::Sending).collect();
        swept.recovered += self.courier.recover_holders(&held, turn).await?;
        let doubtful: Vec<_> = group.iter().filter(|message| message.state == State::Unconfirmed).collect();
        self.courier.tell_doubtful(&doubtful).await
    }

    /// W11: what is no longer valid is not sent any more.
    async fn expire(&self, expired: &[&Message], now: Timestamp) -> Result<usize, RecordError> {
        let moves: Vec<_> = expired.iter().map(|message| Move::expire(message.id, now)).collect::<Result<_, _>>()?;
        let results = self.courier.messages.make(&moves).await;
        Ok(results.iter().filter(|result| matches!(result, Ok(Moved::Done))).count())
    }

    /// Rings for what is overdue, unless the queue holds as many bells as there are such messages: then it
    /// is behind, and more bells would only put it further behind.
    async fn ring(&self, overdue: &[MessageId], swept: &mut Swept) {
        if overdue.is_empty() {
            return;
        }
        match self.queue.bells().await {
            Ok(bells) if bells >= overdue.len() => {
                swept.waiting += overdue.len();
                return;
            }
            Ok(_) => {}
            Err(error) => warn!(%error, "the queue's bells could not be counted"),
        }
        for ids in overdue.chunks(BELL_IDS_MAX) {
            match self.queue.ring(&Bell { ids: ids.to_vec(), full: false }, SignedDuration::ZERO).await {
                Ok(()) => swept.rung += ids.len(),
                Err(error) => warn!(%error, "the bell was not rung"),
            }
        }
    }

    /// Opens the connections before the first event needs them; what fails here fails there again, and is told there.
    pub async fn warm_up(&self) {
        tokio::join!(self.courier.messages.warm_up(), self.queue.warm_up());
    }
}
