//! POST /messages/bulk: many messages in one call, each of which stands for itself.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::Value;
use shared::clock;
use shared::http::{Document, Problem, json, json_body};
use shared::message::{self, Invalid};
use shared::view::View;
use tracing::info;

use crate::App;
use crate::intake::{Taken, Wanted};

const MESSAGES_MAX: usize = 500;
/// As many messages of ten segments, with their references, in any JSON but the most wasteful. The answer, which
/// holds them again, stays below the 6 MB that Lambda carries.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Entry<'a>>,
}

/// What became of one message.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Taken {
        #[serde(flatten)]
        message: View<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        replayed: Option<bool>,
    },
    Problem(Document<'a>),
}

impl App {
    pub(crate) async fn post_bulk(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let key = crate::idempotency_key(request.headers())?;
        let body = json_body(request, BODY_BYTES_MAX)?;
        let now = clock::now();

        let (mut wanted, mut refused) = (Vec::new(), Vec::new());
        for (n, message) in messages(&body)?.iter().enumerate() {
            match message::Request::parse(message, now) {
                Ok(request) => wanted.push(Wanted { request, key: key.map(|key| key_of(key, n)) }),
                Err(invalid) => refused.push((n, invalid)),
            }
        }
        self.backlog.admit().await?;
        let mut results = self.take(client, wanted).await;
        // In the order of their places, so that each goes to its own.
        for (n, invalid) in refused {
            results.insert(n, Err(invalid.into()));
        }
        tell(&client.name, &results);
        if is_unavailable(&results) {
            return Err(Problem::Unavailable);
        }
        Ok(json(StatusCode::ACCEPTED, &Results { results: results.iter().map(entry).collect() }))
    }
}

/// The messages that the body holds, each of which is still to be read.
fn messages(body: &Value) -> Result<&[Value], Invalid> {
    let Value::Object(fields) = body else { return Err(Invalid::new("body", "", "Must be a JSON object")) };
    if let Some(unknown) = fields.keys().find(|name| *name != "messages") {
        return Err(Invalid::new(unknown, "", "Is not a field of a bulk"));
    }
    match fields.get("messages").and_then(Value::as_array) {
        Some(messages) if (1..=MESSAGES_MAX).contains(&messages.len()) => Ok(messages),
        _ => Err(Invalid::new("messages", "", &format!("Must be an array of 1 to {MESSAGES_MAX} messages"))),
    }
}

/// The key of a call's message by its place. No header can hold a line break, so none of a single message is it.
fn key_of(key: &str, n: usize) -> String {
    format!("{key}\n{n}")
}

/// The record failed, and nothing was recorded: the call has the problem, and not its messages.
fn is_unavailable(results: &[Result<Taken, Problem>]) -> bool {
    let failed = results.iter().any(|result| matches!(result, Err(Problem::Unavailable)));
    failed && results.iter().all(Result::is_err)
}

fn entry(result: &Result<Taken, Problem>) -> Entry<'_> {
    match result {
        Ok(Taken { message, replayed }) => {
            Entry::Taken { message: View::of(message), replayed: replayed.then_some(true) }
        }
        Err(problem) => Entry::Problem(problem.document()),
    }
}

fn tell(client: &str, results: &[Result<Taken, Problem>]) {
    let count = |is: fn(&Result<Taken, Problem>) -> bool| results.iter().filter(|result| is(result)).count();
    info!(
        event = "bulk",
        client,
        messages = results.len(),
        accepted = count(Result::is_ok),
        replayed = count(|result| matches!(result, Ok(taken) if taken.replayed)),
        failed = count(|result| matches!(result, Err(Problem::Unavailable))),
        "accepted in bulk"
    );
}
