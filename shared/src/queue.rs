//! The doorbell: an SQS message that says which messages to look at, and nothing else.
//!
//! The record is the truth. Losing, repeating or reordering a bell costs time, never a message.

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::aws::brief;
use crate::crash;
use crate::id::MessageId;

/// The longest that SQS hides a message.
const HIDE_MAX_S: i64 = 43_200;

/// Ids that one bell carries: as many as one look-up reads.
pub const BELL_IDS_MAX: usize = 100;

/// What an SQS message carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bell {
    pub ids: Vec<MessageId>,
    /// It rings because a batch has filled up, not because its messages are due.
    #[serde(default)]
    pub full: bool,
}

/// The queue could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("the queue failed to {action}: {cause}")]
pub struct QueueError {
    action: &'static str,
    cause: String,
}

#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    pub fn new(config: &SdkConfig, url: String) -> Self {
        Self { client: Client::new(config), url }
    }

    /// Rings after `delay`, to the full second above.
    pub async fn ring(&self, bell: &Bell, delay: SignedDuration) -> Result<(), QueueError> {
        let failed = |cause| QueueError { action: "ring", cause };
        let body = serde_json::to_string(bell).map_err(|error| failed(error.to_string()))?;
        let call = self.client.send_message().queue_url(&self.url).message_body(body);
        // A queue has no delay of zero to ask for when nothing has to wait.
        let call = if delay.is_zero() { call } else { call.delay_seconds(seconds_above(delay)) };
        crash::around("ring", call.send()).await.map_err(|error| failed(brief(&error)))?;
        Ok(())
    }

    /// How many bells ring or are being answered, about; those that are delayed are not counted.
    pub async fn bells(&self) -> Result<usize, QueueError> {
        const COUNTS: [QueueAttributeName; 2] = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let get = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(COUNTS.to_vec()));
        let answer = get.send().await.map_err(|error| QueueError { action: "count bells", cause: brief(&error) })?;
        let counts = answer.attributes.unwrap_or_default();
        Ok(COUNTS.iter().filter_map(|name| counts.get(name)?.parse::<usize>().ok()).sum())
    }

    /// Opens the connection, whatever comes of it.
    pub async fn warm_up(&self) {
        let _ = self.client.get_queue_attributes().queue_url(&self.url).send().await;
    }

    /// Keeps a received bell from being received again for `time`, to the full second above.
    pub async fn hide(&self, receipt_handle: &str, time: SignedDuration) -> Result<(), QueueError> {
        let call = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(seconds_above(time));
        crash::around("hide a bell", call.send())
            .await
            .map_err(|error| QueueError { action: "hide a bell", cause: brief(&error) })?;
        Ok(())
    }
}

fn seconds_above(time: SignedDuration) -> i32 {
    let seconds = time.as_secs() + i64::from(time.subsec_nanos() > 0);
    i32::try_from(seconds.clamp(0, HIDE_MAX_S)).unwrap_or(0)
}
