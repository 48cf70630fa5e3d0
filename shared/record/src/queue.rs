//! The doorbell: the SQS queue that wakes the dispatcher.
//!
//! A *bell* is an SQS message that names messages to look at in the record, and nothing else.
//! `send` and the sweep *ring*, i.e. send a bell; the event source of `dispatch` delivers bells,
//! and `dispatch` sets the visibility of one that must ring again. The record is the truth: losing,
//! repeating or reordering a bell costs time, never a message.

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use domain::id::MessageId;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::aws::brief;
use crate::crash;

/// Ids in one bell: as many as one BatchGetItem reads.
pub const BELL_IDS_MAX: usize = 100;

/// The longest visibility timeout, in seconds, by SQS's limit of 12 hours.
const VISIBILITY_MAX_S: i64 = 43_200;

/// The body of an SQS message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bell {
    pub ids: Vec<MessageId>,
    /// The bell rings because a batch has filled up, not because its messages are due.
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

/// The queue.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    pub fn new(config: &SdkConfig, url: String) -> Self {
        Self {
            client: Client::new(config),
            url,
        }
    }

    /// Sends a bell that SQS delivers after `delay`, rounded up to the second. The longest delay
    /// is 15 minutes, by SQS's limit.
    pub async fn ring(&self, bell: &Bell, delay: SignedDuration) -> Result<(), QueueError> {
        let failed = |cause| QueueError {
            action: "ring",
            cause,
        };
        let body = serde_json::to_string(bell).map_err(|error| failed(error.to_string()))?;
        let call = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body);
        // Without a delay the parameter is left out, so the queue's own default applies.
        let call = if delay.is_zero() {
            call
        } else {
            call.delay_seconds(seconds_above(delay))
        };
        crash::around("ring", call.send())
            .await
            .map_err(|error| failed(brief(&error)))?;
        Ok(())
    }

    /// Returns approximately how many bells are visible or in flight. Delayed ones are not counted.
    pub async fn depth(&self) -> Result<usize, QueueError> {
        const COUNTS: [QueueAttributeName; 2] = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let get = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(COUNTS.to_vec()));
        let answer = get.send().await.map_err(|error| QueueError {
            action: "count bells",
            cause: brief(&error),
        })?;
        let counts = answer.attributes.unwrap_or_default();
        Ok(COUNTS
            .iter()
            .filter_map(|name| counts.get(name)?.parse::<usize>().ok())
            .sum())
    }

    /// Opens the connection with a call whose result does not matter.
    pub async fn warm_up(&self) {
        let _ = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .send()
            .await;
    }

    /// Sets the visibility timeout of a received bell, so that SQS delivers it again after
    /// `time`, rounded up to the second.
    pub async fn set_visibility(
        &self,
        receipt_handle: &str,
        time: SignedDuration,
    ) -> Result<(), QueueError> {
        let call = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(seconds_above(time));
        crash::around("set a bell's visibility", call.send())
            .await
            .map_err(|error| QueueError {
                action: "set a bell's visibility",
                cause: brief(&error),
            })?;
        Ok(())
    }
}

/// The whole seconds that cover `time`, within the limit of a visibility timeout.
fn seconds_above(time: SignedDuration) -> i32 {
    let seconds = time.as_secs() + i64::from(time.subsec_nanos() > 0);
    i32::try_from(seconds.clamp(0, VISIBILITY_MAX_S)).unwrap_or(0)
}
