//! GET /messages, /batches, /numbers, one of each, /statistics and /health, POST /reconciliations: reads the record,
//! and only reads.

mod listing;
mod numbers;
mod paging;
mod period;
mod reconciliation;
mod statistics;

use aws_config::SdkConfig;
use jiff::Timestamp;
use jiff::civil::Date;
use lambda_http::http::header::LINK;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt, Response};
use serde::Serialize;
use serde_json::json;
use shared::auth::Clients;
use shared::clock;
use shared::config::{Refused, Source};
use shared::http::{self, Problem, id_in_path};
use shared::id::MessageId;
use shared::message::Message;
use shared::money::Money;
use shared::provider::{Provider, names};
use shared::record::batch_list::BatchPage;
use shared::record::batches::Batches;
use shared::record::messages::Messages;
use shared::record::numbers::Numbers;
use shared::record::range::{Order, Range, Step, start_of};
use shared::view::{BatchView, View};

use listing::{OfBatches, OfMessages};
use paging::{cursor, link};

/// Pages that one listing reads, 16 for each day it looks at: it ends well within the function's time, and
/// the next one goes on from there.
const PAGES_MAX: usize = 1_600;

pub struct App {
    clients: Clients,
    messages: Messages,
    batches: Batches,
    numbers: Numbers,
    providers: Vec<Provider>,
    /// Nothing was recorded before this moment.
    since: Timestamp,
}

#[derive(Serialize)]
struct MessagesPage<'a> {
    messages: Vec<View<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct BatchesPage<'a> {
    batches: Vec<BatchView<'a>>,
    next_cursor: Option<String>,
}

impl App {
    pub fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>, aws: &SdkConfig) -> Result<Self, Refused> {
        Ok(Self {
            clients: Clients::read(source)?,
            messages: Messages::new(aws, source.text("MESSAGES_TABLE")?),
            batches: Batches::new(aws, source.text("BATCHES_TABLE")?),
            numbers: Numbers::new(aws, source.text("NUMBERS_TABLE")?),
            providers: source.providers()?,
            since: start_of(source.value::<Date>("RECORD_SINCE")?),
        })
    }

    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Error> {
        let path: Vec<_> = request.raw_http_path().split('/').skip(1).collect();
        let answer = match (request.method(), &path[..]) {
            (&Method::GET, ["health"]) => Ok(http::json(StatusCode::OK, &json!({"status": "ok"}))),
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

    async fn get_message(&self, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let found = match id_in_path(id)? {
            Some(id) => self.messages.get(id).await?,
            None => None,
        };
        match found {
            Some(message) if client.may_see(&message) => Ok(http::json(StatusCode::OK, &View::of(&message))),
            // Another client's message is as unknown as one that never was.
            _ => Ok(http::json(StatusCode::NOT_FOUND, &json!({"id": id, "status": "NOT_FOUND"}))),
        }
    }

    async fn get_messages(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let parameters = request.query_string_parameters();
        let listing = OfMessages::parse(parameters.iter())?;
        let (from, to) = listing.paging.bounds(self.since, clock::now());
        let filter = listing.filter(client)?;
        let range = self.messages.range(Order::NewestFirst, from, to, filter, listing.page_size(), PAGES_MAX);
        let (messages, behind) = read(range, listing.paging.limit).await?;

        let next_cursor = behind.map(cursor);
        let page = MessagesPage { messages: messages.iter().map(View::of).collect(), next_cursor: next_cursor.clone() };
        Ok(linked(http::json(StatusCode::OK, &page), request, next_cursor))
    }

    async fn get_batch(&self, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let found = match id_in_path(id)? {
            Some(id) => self.batches.find(&self.names(parameters.first("provider")), id).await?,
            None => None,
        };
        match found {
            Some(batch) => Ok(http::json(StatusCode::OK, &BatchView::of(&batch))),
            None => Ok(http::json(StatusCode::NOT_FOUND, &json!({"id": id, "state": "NOT_FOUND"}))),
        }
    }

    async fn get_batches(&self, request: &Request) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let OfBatches { paging, state, provider } = OfBatches::parse(parameters.iter())?;
        let providers = self.names(provider.as_deref());
        let (from, to) = paging.bounds(self.since, clock::now());
        let BatchPage { batches, behind } = self.batches.list_all(&providers, from, to, state, paging.limit).await?;

        let next_cursor = behind.map(cursor);
        let page =
            BatchesPage { batches: batches.iter().map(BatchView::of).collect(), next_cursor: next_cursor.clone() };
        Ok(linked(http::json(StatusCode::OK, &page), request, next_cursor))
    }

    fn names<'a>(&'a self, asked: Option<&'a str>) -> Vec<&'a str> {
        names(&self.providers, asked)
    }

    /// What the provider bills for a request, where that is configured.
    fn price(&self, name: &str) -> Option<Money> {
        self.providers.iter().find(|provider| provider.name == name)?.price_per_request
    }

    /// Opens the connection before the first call needs it; what fails here fails there again, and is told there.
    pub async fn warm_up(&self) {
        self.messages.warm_up().await;
    }
}

/// The page with a Link to the next one, if there is one.
fn linked(mut page: Response<Body>, request: &Request, next_cursor: Option<String>) -> Response<Body> {
    let parameters = request.query_string_parameters();
    let link = next_cursor.map(|cursor| link(request.raw_http_path(), parameters.iter(), &cursor));
    let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
    page.headers_mut().extend(link.map(|link| (LINK, link)));
    page
}

/// Reads one page, and the id behind which the next one begins, if anything may be there.
async fn read(mut range: Range, limit: usize) -> Result<(Vec<Message>, Option<MessageId>), Problem> {
    let mut messages = Vec::with_capacity(limit);
    loop {
        match range.next().await? {
            Step::Message(_) if messages.len() == limit => {
                let last = messages.last().map(|message: &Message| message.id);
                return Ok((messages, last));
            }
            Step::Message(message) => messages.push(*message),
            Step::Paused(place) => return Ok((messages, Some(place))),
            Step::End => return Ok((messages, None)),
        }
    }
}
