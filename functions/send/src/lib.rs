//! POST /messages: records a message, then rings the bell for it. A 202 is recorded before it is given.

mod backlog;

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::SdkConfig;
use jiff::SignedDuration;
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt, Response};
use shared::auth::{Client, Clients, sha256_hex};
use shared::batch::Plan;
use shared::clock;
use shared::config::{Refused, Source};
use shared::http::{Problem, json, json_body};
use shared::id::MessageId;
use shared::message::{self, Invalid, Message};
use shared::queue::{Bell, Queue};
use shared::record::idempotency::{Idempotency, Reserved};
use shared::record::messages::{Accepted, Messages};
use shared::view::View;
use tracing::{info, warn};

use backlog::Backlog;

/// Ten segments in the most wasteful JSON there is.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// The longest that recording a message may take, with all its retries, and some more.
const RECORD_MAX_S: i64 = 10;
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

pub struct App {
    clients: Clients,
    messages: Messages,
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
            _ => Err(Problem::NoRoute),
        };
        Ok(answer.unwrap_or_else(|problem| problem.response()))
    }

    async fn post_message(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let key = idempotency_key(request.headers())?;
        let now = clock::now();
        let wanted = message::Request::parse(&json_body(request, BODY_BYTES_MAX)?, now)?;

        self.backlog.admit().await?;
        let (id, is_known) = self.id_for(client, key, &wanted).await?;
        if wanted.is_expired(now) {
            // It may have been accepted in time, and this be the repeat of a call whose answer was lost.
            let found = if is_known { self.messages.get(id).await? } else { None };
            return found.map(|message| answer(&message, true)).ok_or_else(|| wanted.expired().into());
        }
        let message = Message::accepted(id, &client.name, wanted, now);
        let bell = self.bell(id, is_known);
        let accepted = if bell.full || self.plan.window.as_secs() < RECORD_MAX_S {
            // Whoever comes at the sound of the bell must find the message.
            let accepted = self.messages.accept(&message).await?;
            self.ring(bell).await;
            accepted
        } else {
            // The bell rings when the record has long answered; if that fails, it rings for nothing.
            let (accepted, ()) = tokio::join!(self.messages.accept(&message), self.ring(bell));
            accepted?
        };
        let (message, replayed) = match accepted {
            Accepted::New => (message, false),
            Accepted::Already(found) => (*found, is_known),
        };
        info!(message_id = %message.id, client = client.name, segments = message.segments, replayed, "accepted");
        Ok(answer(&message, replayed))
    }

    /// The id of the message that the caller asks for, and whether the caller asked before.
    async fn id_for(
        &self,
        client: &Client,
        key: Option<&str>,
        wanted: &message::Request,
    ) -> Result<(MessageId, bool), Problem> {
        let id = clock::message_id();
        let Some(key) = key else { return Ok((id, false)) };
        let hash = sha256_hex(&serde_json::to_vec(wanted).unwrap_or_default());
        match self.idempotency.reserve(&client.name, key, id, &hash, clock::now()).await? {
            Reserved::Fresh => Ok((id, false)),
            Reserved::Known(id) => Ok((id, true)),
            Reserved::Conflict => Err(Problem::KeyReused),
        }
    }

    /// A bell for when the message is due, or for now if it fills a batch.
    fn bell(&self, id: MessageId, is_known: bool) -> Bell {
        let accepted = if is_known { 0 } else { self.accepted.fetch_add(1, Ordering::Relaxed) + 1 };
        Bell { ids: vec![id], full: accepted > 0 && accepted.is_multiple_of(self.plan.size) }
    }

    /// A bell that can't be rung costs time only: another one, or the sweep, will find the message.
    async fn ring(&self, bell: Bell) {
        let delay = if bell.full { SignedDuration::ZERO } else { self.plan.window };
        if let Err(error) = self.queue.ring(&bell, delay).await {
            warn!(%error, "the bell was not rung");
        }
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
