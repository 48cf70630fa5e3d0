//! POST /messages: one message.

use domain::message::Message;
use domain::message_request::MessageRequest;
use edge::answer::json;
use edge::problem::Problem;
use edge::request::json_body;
use edge::view::MessageView;
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use record::clock;
use tracing::info;

use crate::App;
use crate::idempotency_key;
use crate::intake::{KeyedRequest, Recorded};

/// The size of a body, in bytes: ten segments in the most wasteful JSON there is.
const BODY_BYTES_MAX: usize = 16 * 1024;

impl App {
    pub(crate) async fn post_message(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let key = idempotency_key::of_call(request.headers())?;
        let body = json_body(request, BODY_BYTES_MAX)?;
        let keyed = KeyedRequest {
            request: MessageRequest::parse(&body, clock::now())?,
            key: key.map(str::to_owned),
        };

        self.backlog.admit().await?;
        let recorded = self.accept(client, vec![keyed]).await.pop();
        let Recorded { message, replayed } = recorded.unwrap_or(Err(Problem::Unavailable))?;
        info!(
            message_id = %message.id,
            client = client.name,
            segments = message.segments,
            replayed,
            "a message was accepted"
        );
        Ok(answer(&message, replayed))
    }
}

fn answer(message: &Message, replayed: bool) -> Response<Body> {
    let mut response = json(StatusCode::ACCEPTED, &MessageView::of(message));
    let location = HeaderValue::from_str(&format!("/messages/{}", message.id));
    response
        .headers_mut()
        .extend(location.ok().map(|location| (LOCATION, location)));
    if replayed {
        response
            .headers_mut()
            .insert("Idempotent-Replayed", HeaderValue::from_static("true"));
    }
    response
}
