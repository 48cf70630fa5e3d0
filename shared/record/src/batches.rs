//! Table Batches: one item per request to a provider, written before the request is made.
//!
//! The item is the commit point of a send, the log that recovery reads and the line that an invoice
//! is compared with. A batch's *owner* is the dispatcher that claimed its members. Its *intent*
//! (W3) is the item itself, in state STARTED. The dispatcher writes W3 and W4 before each request
//! and W5 after it. The sweep writes W7 and W5 for a dispatcher that was stopped, `status` writes
//! W5 when a report or an operator settles a batch, and the process that has applied an outcome to
//! all members closes the batch (W13).
//!
//! Attribute `open` keeps a batch in the sparse index of that name while work is left on it.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::batch::{Answer, Batch, BatchState, Outcome};
use domain::id::BatchId;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};

use crate::get_many::get_many;
use crate::settlement::settlement;
use crate::{
    Item, Put, RETENTION_DAYS, RecordError, attribute, crash, expires_at, from_item, millisecond,
    number, put_or_found, text, to_item, unavailable,
};

/// What a write of W3, W4 or W7 did.
#[derive(Debug, PartialEq, Eq)]
pub enum IntentResult {
    Written,
    /// Another process abandoned the batch or has taken it over, so the caller must not send it.
    /// This is the state that was found, where it is known.
    Lost(Option<BatchState>),
}

#[derive(Clone)]
pub struct Batches {
    pub(super) client: Client,
    pub(super) table: String,
}

impl Batches {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: Client::new(config),
            table,
        }
    }

    /// Reads a batch consistently.
    pub async fn get(&self, provider: &str, id: BatchId) -> Result<Option<Batch>, RecordError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(provider, id)));
        let answer = get
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("get a batch"))?;
        answer.item.map(from_item).transpose()
    }

    /// Finds a batch by its id, whichever of these providers it was made for.
    pub async fn find(
        &self,
        providers: &[&str],
        id: BatchId,
    ) -> Result<Option<Batch>, RecordError> {
        let found = try_join_all(providers.iter().map(|provider| self.get(provider, id))).await?;
        Ok(found.into_iter().flatten().next())
    }

    /// Reads batches consistently and in no order, each given by its provider and id. Unknown
    /// batches are left out; the given ones must be distinct.
    pub async fn get_many(&self, batches: &[(&str, BatchId)]) -> Result<Vec<Batch>, RecordError> {
        let keys: Vec<_> = batches
            .iter()
            .map(|(provider, id)| key(provider, *id))
            .collect();
        get_many(&self.client, &self.table, &keys, "get batches").await
    }

    /// Lists a provider's open batches from `from` on, oldest first, at most
    /// `limit`. A batch that was closed a moment ago may still be listed, because an
    /// index is read eventually consistently.
    pub async fn open(
        &self,
        provider: &str,
        from: BatchId,
        limit: usize,
    ) -> Result<Vec<BatchId>, RecordError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("open")
            .key_condition_expression("#open = :open AND #id >= :from")
            .expression_attribute_names("#open", "open")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":open", text(provider))
            .expression_attribute_values(":from", text(from))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = query
            .send()
            .await
            .map_err(unavailable("list open batches"))?;
        let ids = answer.items.unwrap_or_default().into_iter();
        Ok(ids
            .filter_map(|item| item.get("id")?.as_s().ok()?.parse().ok())
            .collect())
    }

    /// W3: records the intent to send. Nothing may be sent before this is written.
    pub async fn start(&self, batch: &Batch) -> Result<IntentResult, RecordError> {
        // The second half recognises a repeat of this write by the SDK.
        let condition = "attribute_not_exists(#id) \
            OR (#state = :started AND #owner = :me AND #attempts = :one)";
        let put = self
            .put(batch, Some(("open", text(&batch.provider))))?
            .condition_expression(condition)
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#attempts", "attempts")
            .expression_attribute_values(":started", attribute(BatchState::Started)?)
            .expression_attribute_values(":me", text(&batch.owner))
            .expression_attribute_values(":one", number(1));
        written(crash::around("start a batch", put.send()).await)
    }

    /// W7: puts a tombstone, in state ABANDONED, where no intent was written. A dispatcher that is
    /// late then finds it with its W3 and cannot send the batch.
    pub async fn abandon(&self, tombstone: &Batch) -> Result<IntentResult, RecordError> {
        let put = self
            .put(tombstone, None)?
            .condition_expression("attribute_not_exists(#id) OR #state = :abandoned")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":abandoned", attribute(BatchState::Abandoned)?);
        written(crash::around("abandon a batch", put.send()).await)
    }

    /// W4: counts the attempt that follows attempt number `attempts`, before it is made. The
    /// batch then belongs to `batch.owner` until `batch.deadline`. Where the provider is
    /// `keyed`, i.e. still recognises the batch's idempotency key, the attempt may also be at
    /// a batch whose state is UNKNOWN.
    pub async fn count_attempt(
        &self,
        batch: &Batch,
        attempts: u32,
        keyed: bool,
        now: Timestamp,
    ) -> Result<IntentResult, RecordError> {
        // A repeat of this write by the SDK finds its own owner and `:next`. A batch that was
        // settled in the meantime allows no further attempt.
        let condition = if keyed {
            "#state IN (:started, :unknown) \
             AND (#attempts = :known OR (#owner = :me AND #attempts = :next))"
        } else {
            "#state = :started AND #owner = :me AND #attempts IN (:known, :next)"
        };
        let update = self
            .update(&batch.provider, batch.id, now)
            .update_expression(
                "SET #attempts = :next, #owner = :me, #deadline = :deadline, #updated_at = :now",
            )
            .condition_expression(condition)
            .expression_attribute_names("#attempts", "attempts")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#deadline", "deadline")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":deadline", millisecond(batch.deadline))
            .expression_attribute_values(":known", number(attempts))
            .expression_attribute_values(":next", number(attempts + 1))
            .expression_attribute_values(":me", text(&batch.owner))
            .expression_attribute_values(":started", attribute(BatchState::Started)?);
        let update = match keyed {
            true => update.expression_attribute_values(":unknown", attribute(BatchState::Unknown)?),
            false => update,
        };
        match crash::around("count an attempt", update.send()).await {
            Ok(_) => Ok(IntentResult::Written),
            Err(SdkError::ServiceError(error))
                if error.err().is_conditional_check_failed_exception() =>
            {
                Ok(IntentResult::Lost(None))
            }
            Err(error) => Err(unavailable("count an attempt")(error)),
        }
    }

    /// W5: records the outcome of a batch. Returns the batch as it is afterwards, which is another
    /// outcome where one was recorded first, and `None` where there is no such batch.
    pub async fn settle(
        &self,
        (provider, id): (&str, BatchId),
        outcome: &Outcome,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Option<Batch>, RecordError> {
        let update = settlement(self.update(provider, id, now), provider, outcome, answer)?;
        let update = update.return_values(ReturnValue::AllNew);
        match crash::around("settle a batch", update.send()).await {
            Ok(answer) => answer.attributes.map(from_item).transpose(),
            Err(SdkError::ServiceError(error))
                if error.err().is_conditional_check_failed_exception() =>
            {
                let UpdateItemError::ConditionalCheckFailedException(found) = error.into_err()
                else {
                    return Ok(None);
                };
                found
                    .item
                    .filter(|item| !item.is_empty())
                    .map(from_item)
                    .transpose()
            }
            Err(error) => Err(unavailable("settle a batch")(error)),
        }
    }

    /// W13: closes a batch whose outcome was applied to all its members, so that it leaves the
    /// index of open batches. Only batches that W5 keeps open need this: those with refused
    /// members, and those that an operator decided about.
    pub async fn close(
        &self,
        provider: &str,
        id: BatchId,
        now: Timestamp,
    ) -> Result<(), RecordError> {
        let update = self
            .update(provider, id, now)
            .update_expression("SET #updated_at = :now REMOVE #open")
            .condition_expression("#state IN (:confirmed, :rejected)")
            .expression_attribute_names("#open", "open")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":confirmed", attribute(BatchState::Confirmed)?)
            .expression_attribute_values(":rejected", attribute(BatchState::Rejected)?);
        crash::around("close a batch", update.send())
            .await
            .map_err(unavailable("close a batch"))?;
        Ok(())
    }

    /// Prepares a put of the batch, with one more attribute if one is given: `open`, which
    /// lists it in the index of that name.
    fn put(
        &self,
        batch: &Batch,
        more: Option<(&str, AttributeValue)>,
    ) -> Result<PutItemFluentBuilder, RecordError> {
        let mut item = to_item(batch)?;
        item.extend(key(&batch.provider, batch.id));
        item.extend(more.map(|(name, value)| (name.to_owned(), value)));
        let keep = SignedDuration::from_hours(24 * RETENTION_DAYS);
        item.insert("expires_at".into(), expires_at(batch.id.created_at(), keep));
        Ok(self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld))
    }

    fn update(&self, provider: &str, id: BatchId, now: Timestamp) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(provider, id)))
            .expression_attribute_names("#updated_at", "updated_at")
            .expression_attribute_values(":now", millisecond(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

fn written<T>(result: Result<T, SdkError<PutItemError>>) -> Result<IntentResult, RecordError> {
    Ok(match put_or_found(result, "write a batch")? {
        Put::Done => IntentResult::Written,
        Put::Found(item) if item.is_empty() => IntentResult::Lost(None),
        Put::Found(item) => IntentResult::Lost(Some(from_item::<Batch>(item)?.state)),
    })
}

/// A batch's primary key: its provider and day, then its id.
fn key(provider: &str, id: BatchId) -> Item {
    let provider_day = text(format!("{provider}#{}", id.day()));
    [
        ("provider_day".to_owned(), provider_day),
        ("id".to_owned(), text(id)),
    ]
    .into()
}
