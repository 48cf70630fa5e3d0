//! Woken by the clock, finds what no bell rings for any more: messages whose bell was lost, claims
//! and batches that a dispatcher left behind, and messages that have waited too long to be sent at
//! all.
//!
//! Everything it does is conditional and may be done twice, by two sweeps at once or by a
//! dispatcher. The sweep decides how soon a message goes on, never whether.

use aws_config::SdkConfig;
use dispatcher::{Dispatcher, Invocation};
use domain::id::{BatchId, MessageId};
use domain::message::Message;
use domain::message_request::VALIDITY_MAX_S;
use domain::state::State;
use edge::config::{Config, ConfigError};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent};
use record::filter::Filter;
use record::queue::{BELL_IDS_MAX, Bell, Queue};
use record::range::{Order, Step, bounds};
use record::tables::Tables;
use record::{RecordError, clock};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// How far back the frequent sweep looks beyond the batch window, in seconds: bells that were lost
/// lately.
const RECENT_S: i64 = 15 * 60;
/// Messages that are dealt with at a time.
const GROUP_MAX: usize = 500;
/// Open batches that are listed at a time.
const BATCHES_PAGE: usize = 100;
/// Items that one query reads.
const PAGE_SIZE: usize = 256;
/// Queries of one sweep.
const PAGES_MAX: usize = 20_000;

pub struct App {
    dispatcher: Dispatcher,
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
    /// Batches that were recovered.
    recovered: usize,
    /// Messages that were past their `valid_until`.
    expired: usize,
    /// Messages that a bell was rung for.
    rung: usize,
    /// Messages that are overdue while the queue still holds enough bells for them.
    waiting: usize,
}

impl App {
    pub fn new<F: Fn(&str) -> Option<String>>(
        config: &Config<F>,
        aws: &SdkConfig,
    ) -> Result<Self, ConfigError> {
        let providers = config.providers()?;
        let dispatcher = Dispatcher {
            record: Tables::open(aws, |key| config.text(key))?,
            clients: config.provider_clients(&providers)?,
            attempts_max: config.attempts_max()?,
            policy: config.batch_policy(&providers)?,
        };
        Ok(Self {
            dispatcher,
            queue: Queue::new(aws, config.text("QUEUE_URL")?),
        })
    }

    pub async fn handle(&self, event: LambdaEvent<Tick>) -> Result<Swept, Error> {
        let invocation = Invocation::until(event.context.deadline);
        let window = self.dispatcher.policy.window;
        let back = match event.payload.reach {
            Reach::Recent => SignedDuration::from_secs(RECENT_S) + window,
            Reach::All => SignedDuration::from_secs(VALIDITY_MAX_S) + window,
        };
        let since = clock::now() - back;
        // The messages come first, so that work on batches in doubt never keeps them waiting.
        let mut swept = Swept::default();
        let messages = self.sweep_messages(since, &invocation, &mut swept).await;
        swept.recovered += self.sweep_batches(since, &invocation).await?;
        messages?;
        info!(event = "swept", ?swept, "swept");
        Ok(swept)
    }

    /// Batches without an outcome, whatever their messages say; and those whose outcome may not
    /// have reached all of their messages.
    async fn sweep_batches(
        &self,
        since: Timestamp,
        invocation: &Invocation,
    ) -> Result<usize, RecordError> {
        let mut recovered = 0;
        for client in &self.dispatcher.clients {
            recovered += self
                .sweep_batches_of(&client.provider.name, since, invocation)
                .await?;
        }
        Ok(recovered)
    }

    async fn sweep_batches_of(
        &self,
        provider: &str,
        since: Timestamp,
        invocation: &Invocation,
    ) -> Result<usize, RecordError> {
        let (mut from, mut recovered) = (BatchId::first_of(since), 0);
        while self.dispatcher.has_time(invocation) {
            let batches = &self.dispatcher.record.batches;
            let page = batches.open(provider, from, BATCHES_PAGE).await?;
            recovered += self
                .dispatcher
                .recover_open(provider, &page, invocation)
                .await?;
            match page.last() {
                Some(last) if page.len() == BATCHES_PAGE => from = last.after(),
                _ => break,
            }
        }
        Ok(recovered)
    }

    /// Messages that wait, are claimed or in doubt, group by group.
    async fn sweep_messages(
        &self,
        since: Timestamp,
        invocation: &Invocation,
        swept: &mut Swept,
    ) -> Result<(), RecordError> {
        let filter =
            Filter::default().states(&[State::Accepted, State::Sending, State::Unconfirmed])?;
        let ids = bounds(since, clock::now());
        let messages = &self.dispatcher.record.messages;
        let mut open = messages
            .range(Order::OldestFirst, ids, filter)
            .in_pages(PAGE_SIZE, PAGES_MAX);
        let mut more = true;
        while more && self.dispatcher.has_time(invocation) {
            let mut group = Vec::new();
            while more && group.len() < GROUP_MAX {
                match open.next().await? {
                    Step::Message(message) => group.push(*message),
                    Step::Paused(_) | Step::End => more = false,
                }
            }
            self.sweep_group(&group, invocation, swept).await?;
        }
        Ok(())
    }

    async fn sweep_group(
        &self,
        group: &[Message],
        invocation: &Invocation,
        swept: &mut Swept,
    ) -> Result<(), RecordError> {
        let now = clock::now();
        let of = |state| group.iter().filter(move |message| message.state == state);
        let (valid, expired): (Vec<_>, Vec<_>) =
            of(State::Accepted).partition(|message| message.is_valid(now));
        swept.expired += self.dispatcher.expire(&expired).await;

        let ids = valid.iter().map(|message| message.id);
        let overdue: Vec<_> = ids
            .filter(|id| self.dispatcher.policy.is_overdue(*id, now))
            .collect();
        self.ring(&overdue, swept).await;

        let claimed: Vec<_> = of(State::Sending).collect();
        swept.recovered += self
            .dispatcher
            .recover_holders(&claimed, invocation)
            .await?;
        let doubtful: Vec<_> = of(State::Unconfirmed).collect();
        self.dispatcher.apply_to_doubtful(&doubtful).await
    }

    /// Rings for what is overdue, unless the queue holds as many bells as there are such messages:
    /// then it is behind, and more bells would only put it further behind.
    async fn ring(&self, overdue: &[MessageId], swept: &mut Swept) {
        if overdue.is_empty() {
            return;
        }
        match self.queue.depth().await {
            Ok(depth) if depth >= overdue.len() => {
                swept.waiting += overdue.len();
                return;
            }
            Ok(_) => {}
            Err(error) => {
                warn!(%error, "the queue's bells could not be counted; the sweep rings in any case")
            }
        }
        for ids in overdue.chunks(BELL_IDS_MAX) {
            let bell = Bell {
                ids: ids.to_vec(),
                full: false,
            };
            match self.queue.ring(&bell, SignedDuration::ZERO).await {
                Ok(()) => swept.rung += ids.len(),
                Err(error) => warn!(%error, "SQS send failed; the next sweep rings again"),
            }
        }
    }

    /// Opens the connections before the first event needs them. A failure here shows there again,
    /// where it is reported.
    pub async fn warm_up(&self) {
        tokio::join!(
            self.dispatcher.record.messages.warm_up(),
            self.queue.warm_up()
        );
    }
}
