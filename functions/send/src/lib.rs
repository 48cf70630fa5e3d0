//! POST /messages and /messages/bulk: records messages (W1), then rings a bell for them, i.e. sends
//! an SQS message that wakes the dispatcher. A message is recorded before its 202 is given.

mod backlog;
mod bulk;
mod idempotency_key;
mod intake;
mod single;

use std::sync::atomic::AtomicUsize;

use aws_config::SdkConfig;
use domain::batch_policy::BatchPolicy;
use edge::auth::Clients;
use edge::config::{Config, ConfigError};
use edge::problem::Problem;
use lambda_http::http::Method;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use record::idempotency::Idempotency;
use record::messages::Messages;
use record::numbers::Numbers;
use record::queue::Queue;

use crate::backlog::Backlog;

pub struct App {
    clients: Clients,
    messages: Messages,
    numbers: Numbers,
    idempotency: Idempotency,
    queue: Queue,
    policy: BatchPolicy,
    backlog: Backlog,
    /// How many messages this process has accepted. Each time that many fill
    /// a batch, a bell rings at once.
    accepted: AtomicUsize,
}

impl App {
    pub fn new<F: Fn(&str) -> Option<String>>(
        config: &Config<F>,
        aws: &SdkConfig,
    ) -> Result<Self, ConfigError> {
        let providers = config.providers()?;
        let policy = config.batch_policy(&providers)?;
        Ok(Self {
            clients: Clients::read(config)?,
            messages: Messages::new(aws, config.text("MESSAGES_TABLE")?),
            numbers: Numbers::new(aws, config.text("NUMBERS_TABLE")?),
            idempotency: Idempotency::new(aws, config.text("IDEMPOTENCY_TABLE")?),
            queue: Queue::new(aws, config.text("QUEUE_URL")?),
            policy,
            backlog: Backlog::new(config, aws, &providers, policy)?,
            accepted: AtomicUsize::new(0),
        })
    }

    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Error> {
        let answer = match (request.method(), request.raw_http_path()) {
            (&Method::POST, "/messages") => self.post_message(&request).await,
            (&Method::POST, "/messages/bulk") => self.post_bulk(&request).await,
            _ => Err(Problem::NoRoute),
        };
        Ok(answer.unwrap_or_else(|problem| problem.response()))
    }

    /// Opens the connections before the first call needs them. That call reports a failure.
    pub async fn warm_up(&self) {
        tokio::join!(self.messages.warm_up(), self.queue.warm_up());
    }
}
