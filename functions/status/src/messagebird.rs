//! GET /messages/delivery_status/{provider}: MessageBird's report about one recipient.
//!
//! It names no message of ours, but our batch and a recipient. The batch was recorded before it was sent, so it is
//! there however early the report comes, and no two of its messages have one recipient. The message may be in another
//! batch by now, of which the report says nothing.

use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::Value;
use shared::clock;
use shared::http::Problem;
use shared::id::{BatchId, MessageId};
use shared::message::Recipient;
use shared::record::RecordError;
use shared::report::{self, Unreadable, Update};
use shared::webhook::Reporter;

use crate::{App, Origin};

impl App {
    pub(crate) async fn get_delivery_status(
        &self,
        request: &Request,
        provider: &str,
    ) -> Result<Response<Body>, Problem> {
        let Some(Reporter::Messagebird(keys)) = self.reporters.get(provider) else { return Err(Problem::NoRoute) };
        let body: &[u8] = request.body();
        keys.verify(request.headers(), &request.uri().to_string(), body, clock::now())?;

        let parameters = request.query_string_parameters();
        let parameter = |name: &str| parameters.first(name).unwrap_or_default();
        let (reference, recipient) = (parameter("reference"), parameter("recipient"));
        let batch = reference.parse::<BatchId>().ok();
        let read = match report::messagebird(parameter("status"), parameters.first("statusErrorCode")) {
            None => Err(Unreadable::NotAStatus),
            Some(report) => match self.sent_to(provider, batch, recipient).await? {
                Some(id) => Ok((id, report)),
                None => Err(Unreadable::UnknownId),
            },
        };
        let message_id = read.map_or_else(|_| reference.to_owned(), |(id, _)| id.to_string());
        self.answer(Origin { providers: &[provider], batch }, &[Update { message_id, read }]).await
    }

    /// The message that went to `recipient` with the batch that we gave the provider as its reference.
    async fn sent_to(
        &self,
        provider: &str,
        batch: Option<BatchId>,
        recipient: &str,
    ) -> Result<Option<MessageId>, RecordError> {
        let Some(batch_id) = batch else { return Ok(None) };
        let Ok(recipient) = Recipient::parse(&Value::from(recipient)) else { return Ok(None) };
        let Some(batch) = self.batches.get(provider, batch_id).await? else { return Ok(None) };
        let members = self.messages.get_many(&batch.members).await?;
        Ok(members.into_iter().find(|message| message.recipient == recipient).map(|message| message.id))
    }
}
