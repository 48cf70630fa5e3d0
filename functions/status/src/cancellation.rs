//! DELETE /messages/{id}: a caller takes back a message that still waits. It is here and not with what records new
//! messages, because this function moves recorded ones, and nobody else needs to be permitted to.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use serde_json::json;
use shared::clock;
use shared::http::{self, Problem, id_in_path};
use shared::message::Message;
use shared::record::moves::{Move, Moved};
use shared::state::{Reason, State};
use shared::view::View;
use tracing::info;

use crate::App;

impl App {
    pub(crate) async fn delete_message(&self, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let found = match id_in_path(id)? {
            Some(id) => self.messages.get_many(&[id]).await?.pop(),
            None => None,
        };
        match found {
            Some(message) if client.may_see(&message) => {
                let message = self.cancel(message).await?;
                info!(event = "cancelled", message_id = %message.id, client = client.name, "cancelled");
                Ok(http::json(StatusCode::OK, &View::of(&message)))
            }
            // Another client's message is as unknown as one that never was.
            _ => Ok(http::json(StatusCode::NOT_FOUND, &json!({"id": id, "status": "NOT_FOUND"}))),
        }
    }

    /// The message, cancelled now or before.
    async fn cancel(&self, message: Message) -> Result<Message, Problem> {
        let now = clock::now();
        let cancel = Move::refuse_waiting(message.id, Reason::Cancelled, now)?;
        match self.messages.make(&[cancel]).await.pop().transpose()? {
            Some(Moved::Done) => {
                Ok(Message { state: State::NotSent, reason: Some(Reason::Cancelled), updated_at: now, ..message })
            }
            // By an earlier call, or by our own write, whose answer was lost and which the SDK repeated.
            Some(Moved::Found(Some(found))) if found.reason == Some(Reason::Cancelled) => Ok(*found),
            _ => Err(Problem::Conflict("Only a message that still waits to be sent can be cancelled")),
        }
    }
}
