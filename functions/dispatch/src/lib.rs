//! Woken by bells, sends what waits.
//!
//! The bells only wake it. Which messages go into a batch is read from the record, so every
//! dispatcher fills its batches with everything that waits, and not with what happened to share its
//! event.

mod bells;

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use dispatcher::{Dispatcher, Invocation};
use domain::bell::has_to_ring;
use domain::dispatched::Dispatched;
use domain::id::MessageId;
use domain::message::Message;
use domain::state::State;
use edge::config::{Config, ConfigError};
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent};
use record::queue::Queue;
use record::tables::Tables;
use record::{RecordError, clock};
use tracing::{info, warn};

use bells::{Received, received};

/// Batches in a row of which the providers took nothing, after which the bells are given back in
/// any case.
const UNSENT_MAX: usize = 10;
/// Visibility changes under way at once.
const VISIBILITY_CHANGES_AT_ONCE: usize = 16;

pub struct App {
    dispatcher: Dispatcher,
    queue: Queue,
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

    /// Answers with the bells that have to ring again; an error gives all of them back.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let invocation = Invocation::until(event.context.deadline);
        let received = received(event.payload)?;
        let answer = self.dispatch_for(&received, &invocation).await;
        if answer.is_err() {
            // The queue would hide the bells of a failed event for minutes.
            let retries = received.iter().map(|received| (received, received.retry()));
            self.delay(retries.collect()).await;
        }
        answer
    }

    async fn dispatch_for(
        &self,
        received: &[Received],
        invocation: &Invocation,
    ) -> Result<SqsBatchResponse, Error> {
        let mut messages = self.look_up(received).await?;
        let claimed: Vec<_> = messages
            .values()
            .filter(|message| message.state == State::Sending)
            .collect();
        if self
            .dispatcher
            .recover_holders(&claimed, invocation)
            .await?
            > 0
        {
            messages = self.look_up(received).await?;
        }

        let now = clock::now();
        let waiting = messages
            .values()
            .filter(|message| message.state == State::Accepted);
        let (valid, expired): (Vec<_>, Vec<_>) = waiting.partition(|message| message.is_valid(now));
        self.dispatcher.expire(&expired).await;
        let full = received.iter().any(|received| received.bell.full);
        let oldest = valid.iter().map(|message| message.id).min();
        let ended = match self.dispatcher.policy.read_from(oldest, full, clock::now()) {
            Some(from) => self.dispatch(from, invocation).await?,
            None => Dispatched::Idle,
        };
        self.give_back(received, messages, ended).await
    }

    /// Sends batch after batch until nothing is left that may go now. What one provider took
    /// nothing of is tried again, with the provider whose share comes next, until the breakers say
    /// that there is none.
    async fn dispatch(
        &self,
        from: Timestamp,
        invocation: &Invocation,
    ) -> Result<Dispatched, RecordError> {
        let mut from = MessageId::first_of(from);
        let mut unsent = 0;
        loop {
            let (dispatched, next) = self.dispatcher.dispatch_next(from, invocation).await?;
            match dispatched {
                Dispatched::More => {
                    unsent = 0;
                    from = next;
                }
                Dispatched::Refused => unsent = 0,
                Dispatched::Unsent if unsent < UNSENT_MAX => unsent += 1,
                ended => return Ok(ended),
            }
        }
    }

    /// Gives back the bells whose messages wait or are claimed, hidden until it makes sense that
    /// they ring again.
    async fn give_back(
        &self,
        received: &[Received],
        messages: HashMap<MessageId, Message>,
        ended: Dispatched,
    ) -> Result<SqsBatchResponse, Error> {
        let mut response = SqsBatchResponse::default();
        if !messages.values().any(|message| has_to_ring(message.state)) {
            return Ok(response);
        }
        let messages = self.look_up(received).await?;
        let now = clock::now();
        let again = |received| {
            let policy = &self.dispatcher.policy;
            Some((
                received,
                Received::retry_after(received, &messages, ended, policy, now)?,
            ))
        };
        let again: Vec<_> = received.iter().filter_map(again).collect();
        for (received, _) in &again {
            response.add_failure(received.item_identifier.clone());
        }
        if !again.is_empty() {
            let bells = again.len();
            info!(
                event = "given back",
                bells,
                ?ended,
                "these bells ring again: their messages are not finished"
            );
        }
        self.delay(again).await;
        Ok(response)
    }

    /// Keeps bells that are given back from ringing for so long.
    async fn delay(&self, bells: Vec<(&Received, SignedDuration)>) {
        let changes: Vec<_> = bells
            .into_iter()
            .map(|(received, time)| self.set_visibility(received, time))
            .collect();
        let changes = stream::iter(changes).buffer_unordered(VISIBILITY_CHANGES_AT_ONCE);
        changes.collect::<Vec<()>>().await;
    }

    async fn set_visibility(&self, received: &Received, time: SignedDuration) {
        let Some(receipt_handle) = &received.receipt_handle else {
            return;
        };
        if let Err(error) = self.queue.set_visibility(receipt_handle, time).await {
            warn!(%error, "a bell's visibility could not be set; it rings again too late");
        }
    }

    async fn look_up(
        &self,
        received: &[Received],
    ) -> Result<HashMap<MessageId, Message>, RecordError> {
        let ids: Vec<_> = received
            .iter()
            .flat_map(|received| received.bell.ids.iter().copied())
            .collect();
        let messages = self.dispatcher.record.messages.get_many(&ids).await?;
        Ok(messages
            .into_iter()
            .map(|message| (message.id, message))
            .collect())
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
