//! The front door: an HTTP API with the routes of the plan, payload format 2.0, and the answers
//! that API Gateway itself gives.

mod answer;
mod event;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::activity::Activity;
use crate::lambda::Lambda;
use crate::loopback::Server;
use crate::template::Function;
use routes::Routes;

/// The largest request body that an HTTP API accepts.
const BODY_LIMIT_BYTES: usize = 10 * 1024 * 1024;
/// How long an HTTP API waits for a function.
const INTEGRATION_TIMEOUT_S: u64 = 30;

pub struct Gateway {
    server: Server,
    activity: Activity,
}

impl Gateway {
    pub fn start(
        listener: TcpListener,
        functions: &[Function],
        lambda: Arc<Lambda>,
    ) -> Result<Gateway> {
        let activity = Activity::default();
        let state = GatewayState {
            routes: Routes::new(functions),
            lambda,
            activity: activity.clone(),
        };
        let router = Router::new().fallback(answer).with_state(Arc::new(state));
        Ok(Gateway {
            server: Server::start(listener, router)?,
            activity,
        })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The requests under way.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }
}

struct GatewayState {
    routes: Routes,
    lambda: Arc<Lambda>,
    activity: Activity,
}

async fn answer(State(state): State<Arc<GatewayState>>, request: Request) -> Response {
    let _running = state.activity.begin();
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT_BYTES).await else {
        return gateway_answer(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let path = event::decoded(head.uri.path());
    let Some(found) = state.routes.find(head.method.as_str(), &path) else {
        return gateway_answer(StatusCode::NOT_FOUND, "Not Found");
    };
    let event = event::event(&found, &path, &head, &body);
    let invocation = state.lambda.invoke(found.function, event);
    match timeout(Duration::from_secs(INTEGRATION_TIMEOUT_S), invocation).await {
        Ok(Ok(value)) => answer::response(value).unwrap_or_else(internal_error),
        Ok(Err(_)) => internal_error(),
        Err(_) => gateway_answer(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

fn internal_error() -> Response {
    gateway_answer(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// An answer that the gateway gives without a function.
fn gateway_answer(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "message": message }))).into_response()
}
