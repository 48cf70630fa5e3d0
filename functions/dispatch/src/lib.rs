//! Woken by bells, sends what waits.
//!
//! The bells only wake it: which messages go into a batch is read from the record, so that every consumer
//! fills its batches with everything that waits, and not with what happened to share its event.

mod bells;

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent};
use shared::clock;
use shared::config::{Refused, Source};
use shared::courier::{Courier, Round, Turn};
use shared::id::MessageId;
use shared::message::Message;
use shared::queue::Queue;
use shared::record::RecordError;
use shared::record::moves::Move;
use shared::state::State;
use tracing::{info, warn};

use bells::{Received, received};

/// Batches in a row of which the providers took nothing, after which the bells are given back in any case.
const UNSENT_MAX: usize = 10;
/// Visibility changes under way at once.
const HIDES_AT_ONCE: usize = 16;

pub struct App {
    courier: Courier,
    queue: Queue,
}

impl App {
    pub fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>, aws: &SdkConfig) -> Result<Self, Refused> {
        Ok(Self { courier: source.courier(aws)?, queue: Queue::new(aws, source.text("QUEUE_URL")?) })
    }

    /// Answers with the bells that shall ring again; an error gives all of them back.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let turn = Turn::of(&event.context.request_id, event.context.deadline);
        let received = received(event.payload)?;
        let mut rung = self.look_up(&received).await?;
        let held: Vec<_> = rung.values().filter(|message| message.state == State::Sending).collect();
        if self.courier.recover_holders(&held, &turn).await? > 0 {
            rung = self.look_up(&received).await?;
        }

        let waiting = rung.values().filter(|message| message.state == State::Accepted);
        let (valid, expired): (Vec<_>, Vec<_>) = waiting.partition(|message| message.valid_until > clock::now());
        self.expire(&expired).await;
        let full = received.iter().any(|received| received.bell.full);
        let oldest = valid.iter().map(|message| message.id).min();
        let ended = match self.courier.plan.start(oldest, full, clock::now()) {
            Some(from) => self.carry(from, &turn).await?,
            None => Round::Idle,
        };
        self.give_back(&received, rung, ended).await
    }

    /// Carries batch after batch until nothing is left that may go now. What one provider took nothing of is offered
    /// again, to the next one in turn, until the breakers say that there is none.
    async fn carry(&self, from: Timestamp, turn: &Turn) -> Result<Round, RecordError> {
        let mut from = MessageId::first_of(from);
        let mut unsent = 0;
        loop {
            let begun = from;
            match self.courier.round(&mut from, turn).await? {
                Round::Carried => unsent = 0,
                Round::Refused => {
                    unsent = 0;
                    from = begun;
                }
                Round::Unsent if unsent < UNSENT_MAX => {
                    unsent += 1;
                    from = begun;
                }
                ended => return Ok(ended),
            }
        }
    }

    /// The bells whose messages still wait or are in somebody's hands, made quiet until there is hope.
    async fn give_back(
        &self,
        received: &[Received],
        rung: HashMap<MessageId, Message>,
        ended: Round,
    ) -> Result<SqsBatchResponse, Error> {
        let mut response = SqsBatchResponse::default();
        if rung.values().all(|message| !matches!(message.state, State::Accepted | State::Sending)) {
            return Ok(response);
        }
        let rung = self.look_up(received).await?;
        let now = clock::now();
        let quiet = |received| Some((received, Received::quiet(received, &rung, ended, &self.courier.plan, now)?));
        let quiet: Vec<_> = received.iter().filter_map(quiet).collect();
        for (received, _) in &quiet {
            response.add_failure(received.item_identifier.clone());
        }
        let hides: Vec<_> = quiet.iter().map(|(received, time)| self.hide(received, *time)).collect();
        stream::iter(hides).buffer_unordered(HIDES_AT_ONCE).collect::<Vec<()>>().await;
        if !quiet.is_empty() {
            info!(event = "given back", bells = quiet.len(), ?ended, "messages of these bells are not done with");
        }
        Ok(response)
    }

    async fn hide(&self, received: &Received, time: SignedDuration) {
        let Some(receipt_handle) = &received.receipt_handle else { return };
        if let Err(error) = self.queue.hide(receipt_handle, time).await {
            warn!(%error, "a bell will ring again later than it should");
        }
    }

    /// W11: what is no longer valid is not sent any more.
    async fn expire(&self, expired: &[&Message]) {
        let now = clock::now();
        let moves: Vec<_> = expired.iter().filter_map(|message| Move::expire(message.id, now).ok()).collect();
        let failed = self.courier.messages.make(&moves).await.iter().filter(|result| result.is_err()).count();
        if failed > 0 {
            warn!(failed, "expired messages still wait");
        }
    }

    async fn look_up(&self, received: &[Received]) -> Result<HashMap<MessageId, Message>, RecordError> {
        let ids: Vec<_> = received.iter().flat_map(|received| received.bell.ids.iter().copied()).collect();
        let messages = self.courier.messages.get_many(&ids).await?;
        Ok(messages.into_iter().map(|message| (message.id, message)).collect())
    }

    /// Opens the connections before the first event needs them; what fails here fails there again, and is told there.
    pub async fn warm_up(&self) {
        tokio::join!(self.courier.messages.warm_up(), self.queue.warm_up());
    }
}
