//! The Lambda Runtime API. Each process has a server of its own, so that its address shows which
//! process asks.

use std::sync::{Arc, Mutex as Cell, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::InvokeError;
use crate::loopback::{Server, listen};

/// The largest answer of a function that AWS accepts.
const ANSWER_LIMIT_BYTES: usize = 6 * 1024 * 1024;

pub(super) type Answer = Result<Value, InvokeError>;

pub(super) struct Invocation {
    pub(super) id: String,
    pub(super) event: Vec<u8>,
    pub(super) arn: String,
    pub(super) deadline_ms: u128,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// How far the initialization of a process has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Init {
    Starting,
    Ready,
    Failed(InvokeError),
}

pub(super) struct RuntimeApi {
    invocations: mpsc::Sender<Invocation>,
    init: watch::Receiver<Init>,
    server: Server,
}

impl RuntimeApi {
    pub(super) async fn start() -> Result<RuntimeApi> {
        let (sender, receiver) = mpsc::channel(1);
        let (init, initialized) = watch::channel(Init::Starting);
        let state = ApiState {
            waiting: Mutex::new(receiver),
            current: Cell::new(None),
            init,
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::new(state));
        let server = Server::start(listen(None).await?, router)?;
        Ok(RuntimeApi {
            invocations: sender,
            init: initialized,
            server,
        })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn address(&self) -> String {
        self.server.address().to_string()
    }

    pub(super) async fn initialized(&self) -> Init {
        let mut init = self.init.clone();
        let done = init.wait_for(|init| *init != Init::Starting).await;
        done.map_or(Init::Starting, |init| init.clone())
    }

    /// Hands the invocation to the process when it asks for the next one.
    pub(super) async fn offer(&self, invocation: Invocation) {
        // If the server is gone, the sender of the answer is dropped, which tells the caller.
        let _ = self.invocations.send(invocation).await;
    }
}

/// What the server of one process shares with it: the next event, and the answer to the current
/// one.
struct ApiState {
    waiting: Mutex<mpsc::Receiver<Invocation>>,
    current: Cell<Option<(String, oneshot::Sender<Answer>)>>,
    init: watch::Sender<Init>,
}

impl ApiState {
    /// Answers the current invocation. No other can be answered, and none twice.
    fn answer(&self, id: &str, answer: Answer) -> Response {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.take_if(|(current, _)| current == id) {
            Some((_, to)) => {
                let _ = to.send(answer);
                StatusCode::ACCEPTED.into_response()
            }
            None => StatusCode::GONE.into_response(),
        }
    }
}

async fn next(State(state): State<Arc<ApiState>>) -> Response {
    state.init.send_replace(Init::Ready);
    let Some(invocation) = state.waiting.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let id = invocation.id.clone();
    *state.current.lock().unwrap_or_else(PoisonError::into_inner) =
        Some((id.clone(), invocation.answer));
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", id.clone()),
        (
            "lambda-runtime-deadline-ms",
            invocation.deadline_ms.to_string(),
        ),
        ("lambda-runtime-invoked-function-arn", invocation.arn),
        ("lambda-runtime-trace-id", trace_id(&id)),
    ];
    (headers, invocation.event).into_response()
}

async fn response(
    State(state): State<Arc<ApiState>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    if body.len() > ANSWER_LIMIT_BYTES {
        let message = format!(
            "Response payload size exceeded maximum allowed payload size \
             ({ANSWER_LIMIT_BYTES} bytes)."
        );
        state.answer(
            &id,
            Err(function_error("Function.ResponseSizeTooLarge", message)),
        );
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let answer = serde_json::from_slice(&body);
    state.answer(
        &id,
        answer.map_err(|error| function_error("Runtime.InvalidResponse", error.to_string())),
    )
}

async fn error(
    State(state): State<Arc<ApiState>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    state.answer(&id, Err(reported(&body)))
}

async fn init_error(State(state): State<Arc<ApiState>>, body: Bytes) -> Response {
    state.init.send_replace(Init::Failed(reported(&body)));
    StatusCode::ACCEPTED.into_response()
}

/// The error that a function reports.
fn reported(body: &[u8]) -> InvokeError {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Report {
        error_type: String,
        error_message: String,
    }
    let report: Report = serde_json::from_slice(body).unwrap_or_default();
    function_error(&report.error_type, report.error_message)
}

fn function_error(error_type: &str, message: String) -> InvokeError {
    InvokeError::Function {
        error_type: error_type.to_owned(),
        message,
    }
}

/// A trace id in the format of X-Ray, made of the UUID of the request: 8 digits of time and 24
/// random ones.
fn trace_id(request_id: &str) -> String {
    let digits = request_id.replace('-', "");
    let (time, chance) = digits.split_at(8);
    format!("Root=1-{time}-{chance};Sampled=0")
}
