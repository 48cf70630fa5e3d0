//! The SQS event source: pollers that gather messages into batches, invoke the function with each
//! batch, and delete the messages that it has processed.
//!
//! Each poller fills a batch of its own, so a function never sees "the" batch of a window: with
//! five pollers, up to five windows are open at a time. A poller waits for its function before it
//! polls again. AWS adds pollers under load; this event source does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use futures_util::future::join_all;
use rustack_sqs_model::types::{Message, MessageAttributeValue};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::lambda::{InvokeError, Lambda};
use crate::sqs::Sqs;
use crate::template::{REGION, Source};

/// How many pollers Lambda starts with.
const POLLERS: usize = 5;
/// The longest wait that SQS allows.
const LONG_POLL_S: i32 = 20;
/// How often a poller looks for more while its window is open.
const GATHER_MS: u64 = 50;

/// SQS delivers at least once and in any order. These settings make it do so: it repeats and
/// shuffles.
#[derive(Clone, Copy, Debug)]
pub struct Redelivery {
    /// How often each message is delivered. With 1 they are only shuffled.
    pub deliveries: usize,
    pub seed: u64,
}

/// Polls a queue until it is dropped.
pub struct EventSource {
    _pollers: JoinSet<()>,
    duplicated: Arc<AtomicUsize>,
}

impl EventSource {
    pub fn start(
        source: &Source,
        function: &str,
        lambda: &Arc<Lambda>,
        sqs: &Arc<Sqs>,
        redelivery: Option<Redelivery>,
    ) -> EventSource {
        let duplicated = Arc::new(AtomicUsize::new(0));
        let poller = |at: usize| Poller {
            source: source.clone(),
            function: function.to_owned(),
            lambda: Arc::clone(lambda),
            sqs: Arc::clone(sqs),
            deliveries: redelivery.map_or(1, |redelivery| redelivery.deliveries.max(1)),
            duplicated: Arc::clone(&duplicated),
            chance: redelivery
                .map(|redelivery| Rng::with_seed(redelivery.seed.wrapping_add(at as u64))),
        };
        let pollers = (0..POLLERS).map(|at| poller(at).run()).collect();
        EventSource {
            _pollers: pollers,
            duplicated,
        }
    }

    /// How many deliveries beyond the first were made of all messages so far.
    pub fn duplicated(&self) -> usize {
        self.duplicated.load(Ordering::Relaxed)
    }
}

struct Poller {
    source: Source,
    function: String,
    lambda: Arc<Lambda>,
    sqs: Arc<Sqs>,
    deliveries: usize,
    duplicated: Arc<AtomicUsize>,
    chance: Option<Rng>,
}

impl Poller {
    /// Polls until the queue itself fails, which also fails the test that waits for it to drain.
    async fn run(mut self) {
        while let Ok(batch) = self.gather().await {
            if !batch.is_empty() && self.deliver(batch).await.is_err() {
                return;
            }
        }
    }

    /// Gathers one batch. The window opens with the first message and closes when the batch is full
    /// or its time is up.
    async fn gather(&self) -> Result<Vec<Message>> {
        let Source {
            queue,
            batch_size,
            window,
            ..
        } = &self.source;
        let mut batch = self.sqs.receive(queue, *batch_size, LONG_POLL_S).await?;
        let end = Instant::now() + *window;
        while !batch.is_empty() && batch.len() < *batch_size && Instant::now() < end {
            let more = self.sqs.receive(queue, batch_size - batch.len(), 0).await?;
            if more.is_empty() {
                sleep(Duration::from_millis(GATHER_MS).min(end - Instant::now())).await;
            }
            batch.extend(more);
        }
        Ok(batch)
    }

    /// Invokes the function with the batch, as often as the settings say, and deletes what it has
    /// processed.
    async fn deliver(&mut self, batch: Vec<Message>) -> Result<()> {
        let copies: Vec<Vec<Message>> = (0..self.deliveries)
            .map(|_| self.shuffled(&batch))
            .collect();
        self.duplicated
            .fetch_add(batch.len() * (self.deliveries - 1), Ordering::Relaxed);
        let at_once = self.chance.as_mut().is_some_and(Rng::bool);
        let done = if at_once {
            join_all(copies.iter().map(|copy| self.invoke(copy))).await
        } else {
            let mut done = Vec::new();
            for copy in &copies {
                done.push(self.invoke(copy).await);
            }
            done
        };
        // A message is deleted if every delivery of it succeeded.
        let receipts = batch
            .into_iter()
            .filter_map(|message| message.receipt_handle);
        let receipts = receipts
            .filter(|receipt| done.iter().all(|done| done.contains(receipt)))
            .collect();
        self.sqs.delete(&self.source.queue, receipts).await
    }

    fn shuffled(&mut self, batch: &[Message]) -> Vec<Message> {
        let mut batch = batch.to_vec();
        if let Some(chance) = &mut self.chance {
            chance.shuffle(&mut batch);
        }
        batch
    }

    /// Invokes the function; returns the receipts of the messages that it has processed. The others
    /// stay invisible until their visibility timeout ends.
    async fn invoke(&self, batch: &[Message]) -> BTreeSet<String> {
        let records: Vec<Value> = batch
            .iter()
            .map(|message| record(message, &self.source))
            .collect();
        let answer = self
            .lambda
            .invoke(&self.function, json!({ "Records": records }))
            .await;
        let ids: Vec<&str> = batch
            .iter()
            .filter_map(|message| message.message_id.as_deref())
            .collect();
        let Some(failed) = failed(&answer, self.source.reports_failures, &ids) else {
            return BTreeSet::new();
        };
        let done = batch
            .iter()
            .filter(|message| !failed.contains(&message.message_id.as_deref().unwrap_or_default()));
        done.filter_map(|message| message.receipt_handle.clone())
            .collect()
    }
}

/// The ids of the messages that failed, or `None` if all did. An answer that AWS does not document
/// fails all of them.
fn failed<'a>(
    answer: &'a Result<Value, InvokeError>,
    reports: bool,
    sent: &[&str],
) -> Option<Vec<&'a str>> {
    let answer = answer.as_ref().ok()?;
    if !reports {
        return Some(Vec::new());
    }
    let failures = match answer {
        Value::Null => &Value::Null,
        Value::Object(answer) => answer.get("batchItemFailures").unwrap_or(&Value::Null),
        _ => return None,
    };
    match failures {
        Value::Null => Some(Vec::new()),
        Value::Array(failures) => {
            let id = |failure: &'a Value| {
                failure["itemIdentifier"]
                    .as_str()
                    .filter(|id| sent.contains(id))
            };
            failures.iter().map(id).collect()
        }
        _ => None,
    }
}

/// A message as a record of the event.
fn record(message: &Message, source: &Source) -> Value {
    let attributes = message
        .message_attributes
        .iter()
        .map(|(name, value)| (name.clone(), attribute(value)));
    let mut record = json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": message.attributes,
        "messageAttributes": attributes.collect::<Map<_, _>>(),
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": source.queue_arn,
        "awsRegion": REGION,
    });
    if let Some(digest) = &message.md5_of_message_attributes {
        record["md5OfMessageAttributes"] = json!(digest);
    }
    record
}

fn attribute(value: &MessageAttributeValue) -> Value {
    // The serialized value has its binary part in base64, as the event has it.
    let wire = serde_json::to_value(value).unwrap_or_default();
    json!({
        "dataType": value.data_type,
        "stringValue": wire["StringValue"],
        "binaryValue": wire["BinaryValue"],
        "stringListValues": [],
        "binaryListValues": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[&str] = &["a", "b", "c"];

    #[test]
    fn success_is_no_failure_named() {
        for answer in [
            Value::Null,
            json!({}),
            json!({ "batchItemFailures": null }),
            json!({ "batchItemFailures": [] }),
        ] {
            assert_eq!(
                failed(&Ok(answer.clone()), true, SENT),
                Some(Vec::new()),
                "{answer}"
            );
        }
    }

    #[test]
    fn only_the_named_ones_stay() {
        let answer = Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "b" }] }));
        assert_eq!(failed(&answer, true, SENT), Some(vec!["b"]));
        assert_eq!(failed(&answer, false, SENT), Some(Vec::new()));
    }

    #[test]
    fn a_malformed_answer_is_a_complete_failure() {
        for failure in [
            json!({ "itemIdentifier": null }),
            json!({ "itemIdentifier": "" }),
            json!({ "itemIdentifier": "unknown" }),
            json!({ "itemIdentifier": 7 }),
            json!({ "itemidentifier": "a" }),
            json!("a"),
        ] {
            let answer = Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "b" }, failure] }));
            assert_eq!(failed(&answer, true, SENT), None, "{answer:?}");
        }
        for answer in [
            json!("done"),
            json!([]),
            json!({ "batchItemFailures": "a" }),
        ] {
            assert_eq!(failed(&Ok(answer.clone()), true, SENT), None, "{answer}");
        }
        assert_eq!(failed(&Err(InvokeError::TimedOut), true, SENT), None);
    }
}
