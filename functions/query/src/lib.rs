//! GET /messages, /messages/{id} and /health: reads the record, and only reads.

mod listing;

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
use shared::http::{self, Problem};
use shared::id::{MessageId, NotAnId};
use shared::message::{Invalid, Message};
use shared::record::messages::Messages;
use shared::record::range::{Order, Range, Step, start_of};
use shared::view::View;

use listing::Listing;

/// Pages that one listing reads, 16 for each day it looks at: it ends well within the function's time, and
/// the next one goes on from there.
const PAGES_MAX: usize = 1_600;

pub struct App {
    clients: Clients,
    messages: Messages,
    /// Nothing was recorded before this moment.
    since: Timestamp,
}

#[derive(Serialize)]
struct Page<'a> {
    messages: Vec<View<'a>>,
    next_cursor: Option<String>,
}

impl App {
    pub fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>, aws: &SdkConfig) -> Result<Self, Refused> {
        Ok(Self {
            clients: Clients::read(source)?,
            messages: Messages::new(aws, source.text("MESSAGES_TABLE")?),
            since: start_of(source.value::<Date>("RECORD_SINCE")?),
        })
    }

    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Error> {
        let path: Vec<_> = request.raw_http_path().split('/').skip(1).collect();
        let answer = match (request.method(), &path[..]) {
            (&Method::GET, ["health"]) => Ok(http::json(StatusCode::OK, &json!({"status": "ok"}))),
            (&Method::GET, ["messages"]) => self.get_messages(&request).await,
            (&Method::GET, ["messages", id]) => self.get_message(&request, id).await,
            _ => Err(Problem::NoRoute),
        };
        Ok(answer.unwrap_or_else(|problem| problem.response()))
    }

    async fn get_message(&self, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let found = match id.parse::<MessageId>() {
            Ok(id) => self.messages.get(id).await?,
            Err(NotAnId::Foreign) => None,
            Err(error @ NotAnId::Malformed) => return Err(Invalid::new("id", id, &error.to_string()).into()),
        };
        match found {
            Some(message) if client.operator || message.client == client.name => {
                Ok(http::json(StatusCode::OK, &View::of(&message)))
            }
            // Another client's message is as unknown as one that never was.
            _ => Ok(http::json(StatusCode::NOT_FOUND, &json!({"id": id, "status": "NOT_FOUND"}))),
        }
    }

    async fn get_messages(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let parameters = request.query_string_parameters();
        let listing = Listing::parse(parameters.iter())?;
        let (from, to) = listing.bounds(self.since, clock::now());
        let filter = listing.filter(client)?;
        let range = self.messages.range(Order::NewestFirst, from, to, filter, listing.page_size(), PAGES_MAX);
        let (messages, next) = read(range, listing.limit).await?;

        let next_cursor = next.map(listing::cursor);
        let link = next_cursor.as_ref().map(|cursor| listing::link(parameters.iter(), cursor));
        let page = Page { messages: messages.iter().map(View::of).collect(), next_cursor };
        let mut response = http::json(StatusCode::OK, &page);
        let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
        response.headers_mut().extend(link.map(|link| (LINK, link)));
        Ok(response)
    }

    /// Opens the connection before the first call needs it; what fails here fails there again, and is told there.
    pub async fn warm_up(&self) {
        self.messages.warm_up().await;
    }
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
