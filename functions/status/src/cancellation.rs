//! DELETE /messages/{id}: a client cancels a message that still waits.
//!
//! This is here and not in `send`, because this function has the permission to change recorded
//! messages and `send` does not need it.

use domain::message::Message;
use domain::state::{Reason, State};
use edge::answer::{self, not_found};
use edge::problem::Problem;
use edge::request::id_in_path;
use edge::view::MessageView;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use record::clock;
use record::transitions::{Applied, Transition};
use tracing::info;

use crate::App;

impl App {
    pub(crate) async fn delete_message(
        &self,
        request: &Request,
        id: &str,
    ) -> Result<Response<Body>, Problem> {
        let client = self.clients.identify(request.headers())?;
        let found = match id_in_path(id)? {
            Some(id) => self.messages.get(id).await?,
            None => None,
        };
        match found {
            Some(message) if client.may_see(&message) => {
                let message = self.cancel(message).await?;
                info!(
                    event = "cancelled",
                    message_id = %message.id,
                    client = client.name,
                    "a waiting message was cancelled"
                );
                Ok(answer::json(StatusCode::OK, &MessageView::of(&message)))
            }
            // A client does not learn whether another client's message exists.
            _ => Ok(not_found(("id", id), "status")),
        }
    }

    /// Cancels the message. Returns it as cancelled now or before.
    async fn cancel(&self, message: Message) -> Result<Message, Problem> {
        let now = clock::now();
        let cancel = Transition::refuse_waiting(message.id, Reason::Cancelled, now)?;
        match self.messages.apply(&[cancel]).await.pop().transpose()? {
            Some(Applied::Done) => Ok(Message {
                state: State::NotSent,
                reason: Some(Reason::Cancelled),
                updated_at: now,
                ..message
            }),
            // An earlier call cancelled it, or our own write did: its answer was
            // lost, and the SDK repeated it.
            Some(Applied::Found(Some(found))) if found.reason == Some(Reason::Cancelled) => {
                Ok(*found)
            }
            _ => Err(Problem::Conflict(
                "Only a message that still waits to be sent can be cancelled",
            )),
        }
    }
}
