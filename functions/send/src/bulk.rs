//! POST /messages/bulk: many messages in one call. Each of them succeeds or fails by itself.

use domain::fields::Fields;
use domain::invalid::Invalid;
use domain::message_request::MessageRequest;
use edge::answer::json;
use edge::problem::{Document, Problem};
use edge::request::json_body;
use edge::view::MessageView;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use record::clock;
use serde::Serialize;
use serde_json::Value;
use tracing::info;

use crate::App;
use crate::idempotency_key;
use crate::intake::{KeyedRequest, Recorded};

/// Messages in one call. Recording them, 32 at once, takes about a second.
const MESSAGES_MAX: usize = 500;
/// The size of a body, in bytes: 500 messages of ten segments, with their references, in any JSON
/// but the most wasteful. The answer contains them again, and stays below Lambda's limit of 6 MB.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Entry<'a>>,
}

/// What became of one message.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Recorded {
        #[serde(flatten)]
        message: MessageView<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        replayed: Option<bool>,
    },
    Problem(Document<'a>),
}

impl App {
    pub(crate) async fn post_bulk(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let key = idempotency_key::of_call(request.headers())?;
        let body = json_body(request, BODY_BYTES_MAX)?;
        let now = clock::now();

        let (mut requests, mut refused) = (Vec::new(), Vec::new());
        for (n, message) in messages(&body)?.iter().enumerate() {
            match MessageRequest::parse(message, now) {
                Ok(request) => requests.push(KeyedRequest {
                    request,
                    key: key.map(|key| idempotency_key::of_bulk_message(key, n)),
                }),
                Err(invalid) => refused.push((n, invalid)),
            }
        }
        self.backlog.admit().await?;
        let mut results = self.accept(client, requests).await;
        // The refused messages are in order, so each one is inserted at its own place.
        for (n, invalid) in refused {
            results.insert(n, Err(invalid.into()));
        }
        log(&client.name, &results);
        if is_unavailable(&results) {
            return Err(Problem::Unavailable);
        }
        Ok(json(
            StatusCode::ACCEPTED,
            &Results {
                results: results.iter().map(entry).collect(),
            },
        ))
    }
}

/// The messages in the body, not parsed yet.
fn messages(body: &Value) -> Result<&[Value], Invalid> {
    let fields = Fields::of(body)?;
    fields.refuse_unknown(&["messages"], "a bulk")?;
    match fields.get("messages").as_array() {
        Some(messages) if (1..=MESSAGES_MAX).contains(&messages.len()) => Ok(messages),
        _ => Err(Invalid::new(
            "messages",
            "",
            &format!("Must be an array of 1 to {MESSAGES_MAX} messages"),
        )),
    }
}

/// The record failed and nothing was recorded, so the call as a whole fails.
fn is_unavailable(results: &[Result<Recorded, Problem>]) -> bool {
    let failed = results
        .iter()
        .any(|result| matches!(result, Err(Problem::Unavailable)));
    failed && results.iter().all(Result::is_err)
}

fn entry(result: &Result<Recorded, Problem>) -> Entry<'_> {
    match result {
        Ok(Recorded { message, replayed }) => Entry::Recorded {
            message: MessageView::of(message),
            replayed: replayed.then_some(true),
        },
        Err(problem) => Entry::Problem(problem.document()),
    }
}

fn log(client: &str, results: &[Result<Recorded, Problem>]) {
    let count = |is: fn(&Result<Recorded, Problem>) -> bool| {
        results.iter().filter(|result| is(result)).count()
    };
    info!(
        event = "bulk",
        client,
        messages = results.len(),
        accepted = count(Result::is_ok),
        replayed = count(|result| matches!(result, Ok(recorded) if recorded.replayed)),
        failed = count(|result| matches!(result, Err(Problem::Unavailable))),
        "messages were accepted in bulk"
    );
}
