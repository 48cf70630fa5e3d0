//! GET /messages, /batches and /numbers, GET of one of each, GET /statistics and /health, and POST
//! /reconciliations: reads the record, and only reads.

mod batches;
mod messages;
mod numbers;
mod paging;
mod period;
mod reconciliation;
mod statistics;

use aws_config::SdkConfig;
use domain::provider_list::ProviderList;
use edge::answer;
use edge::auth::Clients;
use edge::config::{Config, ConfigError};
use edge::problem::Problem;
use jiff::Timestamp;
use jiff::civil::Date;
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt, Response};
use record::batches::Batches;
use record::messages::Messages;
use record::numbers::Numbers;
use record::range::start_of;
use serde_json::json;

pub struct App {
    clients: Clients,
    messages: Messages,
    batches: Batches,
    numbers: Numbers,
    providers: ProviderList,
    /// Nothing was recorded before this moment, so no read reaches further back.
    since: Timestamp,
}

impl App {
    pub fn new<F: Fn(&str) -> Option<String>>(
        config: &Config<F>,
        aws: &SdkConfig,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            clients: Clients::read(config)?,
            messages: Messages::new(aws, config.text("MESSAGES_TABLE")?),
            batches: Batches::new(aws, config.text("BATCHES_TABLE")?),
            numbers: Numbers::new(aws, config.text("NUMBERS_TABLE")?),
            providers: config.providers()?,
            since: start_of(config.value::<Date>("RECORD_SINCE")?),
        })
    }

    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Error> {
        let path: Vec<_> = request.raw_http_path().split('/').skip(1).collect();
        let answer = match (request.method(), &path[..]) {
            (&Method::GET, ["health"]) => {
                Ok(answer::json(StatusCode::OK, &json!({"status": "ok"})))
            }
            (&Method::GET, ["messages"]) => self.get_messages(&request).await,
            (&Method::GET, ["messages", id]) => self.get_message(&request, id).await,
            (&Method::GET, ["batches"]) => self.get_batches(&request).await,
            (&Method::GET, ["batches", id]) => self.get_batch(&request, id).await,
            (&Method::GET, ["numbers"]) => self.get_numbers(&request).await,
            (&Method::GET, ["numbers", recipient]) => self.get_number(&request, recipient).await,
            (&Method::GET, ["statistics"]) => self.get_statistics(&request).await,
            (&Method::POST, ["reconciliations"]) => self.post_reconciliation(&request).await,
            _ => Err(Problem::NoRoute),
        };
        Ok(answer.unwrap_or_else(|problem| problem.response()))
    }

    /// Opens the connection before the first call needs it. That call reports a failure.
    pub async fn warm_up(&self) {
        self.messages.warm_up().await;
    }
}
