//! GET /messages/delivery_status/{provider}: MessageBird's report about one recipient.
//!
//! The report names no message of ours, but our batch and a recipient. The batch was recorded
//! before it was sent, so it is there however early the report comes, and no two of its
//! messages have the same recipient. By now the message may belong to another batch, about
//! which the report says nothing.

use domain::delivery_report::{self, Unreadable, Update};
use domain::id::{BatchId, MessageId};
use domain::recipient::Recipient;
use edge::problem::Problem;
use edge::webhook::WebhookVerifier;
use lambda_http::{Body, Request, RequestExt, Response};
use record::{RecordError, clock};
use serde_json::Value;

use crate::App;
use crate::updates::Origin;

impl App {
    pub(crate) async fn get_delivery_status(
        &self,
        request: &Request,
        provider: &str,
    ) -> Result<Response<Body>, Problem> {
        let Some(WebhookVerifier::Messagebird(keys)) = self.verifiers.get(provider) else {
            return Err(Problem::NoRoute);
        };
        let body: &[u8] = request.body();
        keys.verify(
            request.headers(),
            &request.uri().to_string(),
            body,
            clock::now(),
        )?;

        let parameters = request.query_string_parameters();
        let parameter = |name: &str| parameters.first(name).unwrap_or_default();
        let (reference, recipient) = (parameter("reference"), parameter("recipient"));
        let batch = reference.parse::<BatchId>().ok();
        let read = match delivery_report::messagebird(
            parameter("status"),
            parameters.first("statusErrorCode"),
        ) {
            None => Err(Unreadable::NotAStatus),
            Some(report) => match self.find_member(provider, batch, recipient).await? {
                Some(id) => Ok((id, report)),
                None => Err(Unreadable::UnknownId),
            },
        };
        let message_id = read.map_or_else(|_| reference.to_owned(), |(id, _)| id.to_string());
        self.answer(
            Origin {
                providers: &[provider],
                batch,
            },
            &[Update { message_id, read }],
        )
        .await
    }

    /// Finds the message to `recipient` in the batch that the report's reference names.
    async fn find_member(
        &self,
        provider: &str,
        batch: Option<BatchId>,
        recipient: &str,
    ) -> Result<Option<MessageId>, RecordError> {
        let Some(batch_id) = batch else {
            return Ok(None);
        };
        let Ok(recipient) = Recipient::parse(&Value::from(recipient)) else {
            return Ok(None);
        };
        let Some(batch) = self.batches.get(provider, batch_id).await? else {
            return Ok(None);
        };
        let members = self.messages.get_many(&batch.members).await?;
        Ok(members
            .into_iter()
            .find(|message| message.recipient == recipient)
            .map(|message| message.id))
    }
}
