//! POST /messages and /messages/bulk: records messages, then rings the bell for them. A 202 is recorded before it
//! is given.

mod backlog;
mod bulk;
mod intake;

use std::sync::atomic::AtomicUsize;

use aws_config::SdkConfig;
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt, Response};
use shared::auth::Clients;
use shared::batch::Plan;
use shared::clock;
use shared::config::{Refused, Source};
use shared::http::{Problem, json, json_body};
use shared::message::{self, Invalid, Message};
use shared::queue::Queue;
use shared::record::idempotency::Idempotency;
use shared::record::messages::Messages;
use shared::record::numbers::Numbers;
use shared::view::View;
use tracing::info;

use backlog::Backlog;
use intake::{Taken, Wanted};

/// Ten segments in the most wasteful JSON there is.
const BODY_BYTES_MAX: usize = 16 * 1024;
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

pub struct App {
    clients: Clients,
    messages: Messages,
    numbers: Numbers,
    idempotency: Idempotency,
    queue: Queue,
    plan: Plan,
    backlog: Backlog,
    /// Messages that this process accepted: each time a batch fills up, a bell rings at once.
    accepted: AtomicUsize,
}

impl App {
    pub fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>, aws: &SdkConfig) -> Result<Self, Refused> {
        Ok(Self {
            clients: Clients::read(source)?,
            messages: Messages::new(aws, source.text("MESSAGES_TABLE")?),
            numbers: Numbers::new(aws, source.text("NUMBERS_TABLE")?),
            idempotency: Idempotency::new(aws, source.text("IDEMPOTENCY_TABLE")?),
            queue: Queue::new(aws, source.text("QUEUE_URL")?),
            plan: source.plan()?,
            backlog: Backlog::read(source, aws)?,
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

    async fn post_message(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let key = idempotency_key(request.headers())?;
        let wanted = message::Request::parse(&json_body(request, BODY_BYTES_MAX)?, clock::now())?;
        let wanted = Wanted { request: wanted, key: key.map(str::to_owned) };

        self.backlog.admit().await?;
        let taken = self.take(client, vec![wanted]).await.pop();
        let Taken { message, replayed } = taken.unwrap_or(Err(Problem::Unavailable))?;
        info!(message_id = %message.id, client = client.name, segments = message.segments, replayed, "accepted");
        Ok(answer(&message, replayed))
    }

    /// Opens the connections before the first call needs them; what fails here fails there again, and is told there.
    pub async fn warm_up(&self) {
        tokio::join!(self.messages.warm_up(), self.queue.warm_up());
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) => Ok(Some(key)),
        _ => {
            let rule = format!("Must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters");
            Err(Invalid::new(IDEMPOTENCY_KEY, "", &rule).into())
        }
    }
}

fn answer(message: &Message, replayed: bool) -> Response<Body> {
    let mut response = json(StatusCode::ACCEPTED, &View::of(message));
    let location = HeaderValue::from_str(&format!("/messages/{}", message.id));
    response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
    if replayed {
        response.headers_mut().insert("Idempotent-Replayed", HeaderValue::from_static("true"));
    }
    response
}
