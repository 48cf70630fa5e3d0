//! An embedded SQS with the queues of the plan. The functions use it with AWS's own protocol, and
//! the stack directly.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::dispatch::dispatch_operation;
use rustack_sqs_http::response::error_to_response;
use rustack_sqs_http::router::resolve_operation;
use rustack_sqs_model::input::{
    CreateQueueInput, DeleteMessageBatchInput, GetQueueAttributesInput, PurgeQueueInput,
    ReceiveMessageInput, SendMessageInput,
};
use rustack_sqs_model::types::{DeleteMessageBatchRequestEntry, Message};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::loopback::Server;
use crate::template::{ACCOUNT, Queue, REGION};

/// The most messages that one ReceiveMessage or DeleteMessageBatch handles.
pub const BATCH_MAX: usize = 10;

const VISIBLE: &str = "ApproximateNumberOfMessages";
const IN_FLIGHT: &str = "ApproximateNumberOfMessagesNotVisible";
const DELAYED: &str = "ApproximateNumberOfMessagesDelayed";

pub struct Sqs {
    queues: Arc<RustackSqs>,
    server: Server,
}

/// How many messages are in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub visible: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

impl Sqs {
    /// The caller creates the listener, because the plan needs queue URLs first, and they contain
    /// its port.
    pub async fn start(listener: TcpListener, queues: &[Queue]) -> Result<Sqs> {
        let address = listener.local_addr()?;
        let provider = Arc::new(RustackSqs::new(SqsConfig {
            skip_signature_validation: true,
            default_region: REGION.to_owned(),
            account_id: ACCOUNT.to_owned(),
            host: address.ip().to_string(),
            port: address.port(),
        }));
        for queue in queues {
            let input = CreateQueueInput {
                queue_name: queue.name.clone(),
                attributes: queue.attributes.clone().into_iter().collect(),
                tags: Default::default(),
            };
            provider
                .create_queue(input)
                .await
                .with_context(|| format!("queue {}", queue.name))?;
        }
        let handler = Arc::new(RustackSqsHandler::new(Arc::clone(&provider)));
        let server = Server::start(listener, Router::new().fallback(answer).with_state(handler))?;
        Ok(Sqs {
            queues: provider,
            server,
        })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn queue_url(&self, queue: &str) -> String {
        format!("{}/{ACCOUNT}/{queue}", self.server.url())
    }

    pub async fn counters(&self, queue: &str) -> Result<Counters> {
        let input = GetQueueAttributesInput {
            queue_url: self.queue_url(queue),
            attribute_names: [VISIBLE, IN_FLIGHT, DELAYED].map(str::to_owned).to_vec(),
        };
        let attributes = self.queues.get_queue_attributes(input).await?.attributes;
        let count = |name: &str| -> Result<usize> {
            Ok(attributes
                .get(name)
                .with_context(|| format!("{queue} has no {name}"))?
                .parse()?)
        };
        Ok(Counters {
            visible: count(VISIBLE)?,
            in_flight: count(IN_FLIGHT)?,
            delayed: count(DELAYED)?,
        })
    }

    /// Deletes all messages of a queue. As on AWS, this fails if it is repeated within a minute.
    pub async fn purge(&self, queue: &str) -> Result<()> {
        self.queues
            .purge_queue(PurgeQueueInput {
                queue_url: self.queue_url(queue),
            })
            .await?;
        Ok(())
    }

    /// Moves all visible messages of one queue into another, as AWS's redrive does; returns how
    /// many there were.
    pub async fn redrive(&self, from: &str, to: &str) -> Result<usize> {
        let mut moved = 0;
        loop {
            let messages = self.receive(from, BATCH_MAX, 0).await?;
            if messages.is_empty() {
                return Ok(moved);
            }
            moved += messages.len();
            for message in &messages {
                let (queue_url, message_body) =
                    (self.queue_url(to), message.body.clone().unwrap_or_default());
                self.queues
                    .send_message(SendMessageInput {
                        queue_url,
                        message_body,
                        ..Default::default()
                    })
                    .await?;
            }
            self.delete(
                from,
                messages
                    .into_iter()
                    .filter_map(|message| message.receipt_handle)
                    .collect(),
            )
            .await?;
        }
    }

    /// Never drop this future while it waits: the messages that it would have received would then
    /// be in flight without a receiver.
    pub(crate) async fn receive(
        &self,
        queue: &str,
        most: usize,
        wait_s: i32,
    ) -> Result<Vec<Message>> {
        let input = ReceiveMessageInput {
            queue_url: self.queue_url(queue),
            max_number_of_messages: Some(i32::try_from(most.min(BATCH_MAX))?),
            wait_time_seconds: Some(wait_s),
            message_system_attribute_names: vec!["All".to_owned()],
            message_attribute_names: vec!["All".to_owned()],
            ..Default::default()
        };
        Ok(self.queues.receive_message(input).await?.messages)
    }

    pub(crate) async fn delete(&self, queue: &str, receipts: Vec<String>) -> Result<()> {
        for receipts in receipts.chunks(BATCH_MAX) {
            let entry = |(id, receipt): (usize, &String)| DeleteMessageBatchRequestEntry {
                id: id.to_string(),
                receipt_handle: receipt.clone(),
            };
            let entries = receipts.iter().enumerate().map(entry).collect();
            let queue_url = self.queue_url(queue);
            self.queues
                .delete_message_batch(DeleteMessageBatchInput { queue_url, entries })
                .await?;
        }
        Ok(())
    }
}

impl Counters {
    pub fn is_empty(&self) -> bool {
        *self == Counters::default()
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} visible, {} in flight, {} delayed",
            self.visible, self.in_flight, self.delayed
        )
    }
}

async fn answer(
    State(handler): State<Arc<RustackSqsHandler>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<SqsResponseBody> {
    let result = match resolve_operation(&headers) {
        Ok(operation) => dispatch_operation(handler.as_ref(), operation, body).await,
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| error_to_response(&error, &Uuid::now_v7().to_string()))
}
