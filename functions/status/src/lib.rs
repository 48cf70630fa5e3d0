//! POST /messages/delivery_status and its variants: records providers' reports (W5, W6, W9, W10).
//!
//! The other calls that change a recorded message, batch or number are here too: an operator
//! resolves a batch in doubt (W5, W6) or decides about a number, and a client cancels a message.

mod callback;
mod cancellation;
mod delivery_status;
mod message_reports;
mod messagebird;
mod numbers;
mod resolution;
mod update_result;
mod updates;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use domain::provider_list::ProviderList;
use edge::auth::Clients;
use edge::config::{Config, ConfigError};
use edge::problem::Problem;
use edge::webhook::WebhookVerifier;
use lambda_http::http::Method;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use record::batches::Batches;
use record::messages::Messages;
use record::numbers::Numbers;

pub struct App {
    /// By the provider's name.
    verifiers: BTreeMap<String, WebhookVerifier>,
    clients: Clients,
    providers: ProviderList,
    messages: Messages,
    batches: Batches,
    numbers: Numbers,
}

impl App {
    pub fn new<F: Fn(&str) -> Option<String>>(
        config: &Config<F>,
        aws: &SdkConfig,
    ) -> Result<Self, ConfigError> {
        let providers = config.providers()?;
        Ok(Self {
            verifiers: config.webhook_verifiers(&providers)?,
            clients: Clients::read(config)?,
            providers,
            messages: Messages::new(aws, config.text("MESSAGES_TABLE")?),
            batches: Batches::new(aws, config.text("BATCHES_TABLE")?),
            numbers: Numbers::new(aws, config.text("NUMBERS_TABLE")?),
        })
    }

    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Error> {
        let path: Vec<_> = request.raw_http_path().split('/').skip(1).collect();
        let answer = match (request.method(), &path[..]) {
            (&Method::POST, ["messages", "delivery_status"]) => {
                self.post_delivery_status(&request).await
            }
            (&Method::GET, ["messages", "delivery_status", provider]) => {
                self.get_delivery_status(&request, provider).await
            }
            (&Method::POST, ["messages", "delivery_status", provider, id]) => {
                self.post_callback(&request, provider, id).await
            }
            (&Method::POST, ["batches", id, "resolution"]) => {
                self.post_resolution(&request, id).await
            }
            (&Method::PUT, ["numbers", recipient]) => self.put_number(&request, recipient).await,
            (&Method::DELETE, ["messages", id]) => self.delete_message(&request, id).await,
            _ => Err(Problem::NoRoute),
        };
        Ok(answer.unwrap_or_else(|problem| problem.response()))
    }

    /// Opens the connection before the first call needs it. That call reports a failure.
    pub async fn warm_up(&self) {
        self.messages.warm_up().await;
    }
}
