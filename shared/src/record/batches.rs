//! Table Batches: one item per request to a provider, written before the request is made.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::{SignedDuration, Timestamp};

use super::get_many::get_many;
use super::settlement::settlement;
use super::{
    Item, Put, RETENTION_DAYS, RecordError, attribute, expires_at, from_item, millisecond, put_or_found, text, to_item,
    unavailable,
};
use crate::batch::{Answer, Batch, BatchState, Outcome};
use crate::crash;
use crate::id::BatchId;

/// What became of the intent to send a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Intent {
    Written,
    /// Somebody declared the batch dead, or holds it: it must not be sent. This was found.
    Lost(Option<BatchState>),
}

#[derive(Clone)]
pub struct Batches {
    pub(super) client: Client,
    pub(super) table: String,
}

impl Batches {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: Client::new(config), table }
    }

    /// Reads a batch as it is now.
    pub async fn get(&self, provider: &str, id: BatchId) -> Result<Option<Batch>, RecordError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(provider, id)));
        let answer = get.consistent_read(true).send().await.map_err(unavailable("get a batch"))?;
        answer.item.map(from_item).transpose()
    }

    /// Reads batches of these providers as they are now, in no order; unknown ones are left out, and no two may be the
    /// same.
    pub async fn get_many(&self, batches: &[(&str, BatchId)]) -> Result<Vec<Batch>, RecordError> {
        let keys: Vec<_> = batches.iter().map(|(provider, id)| key(provider, *id)).collect();
        get_many(&self.client, &self.table, &keys, "get batches").await
    }

    /// Batches that there is something to find out or to tell about, from `from` on, oldest first, at most `limit`.
    /// What was settled a moment ago may still be among them.
    pub async fn open(&self, provider: &str, from: BatchId, limit: usize) -> Result<Vec<BatchId>, RecordError> {
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
        let answer = query.send().await.map_err(unavailable("list open batches"))?;
        let ids = answer.items.unwrap_or_default().into_iter();
        Ok(ids.filter_map(|item| item.get("id")?.as_s().ok()?.parse().ok()).collect())
    }

    /// W3: writes down the intent to send. Only after this may anything be sent.
    pub async fn start(&self, batch: &Batch) -> Result<Intent, RecordError> {
        let condition = "attribute_not_exists(#id) OR (#state = :started AND #owner = :me AND #attempts = :one)";
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

    /// W7: declares a batch dead before its intent was written, so that nobody can send it any more.
    pub async fn bury(&self, tomb: &Batch) -> Result<Intent, RecordError> {
        let put = self
            .put(tomb, None)?
            .condition_expression("attribute_not_exists(#id) OR #state = :tomb")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":tomb", attribute(BatchState::Tomb)?);
        written(crash::around("bury a batch", put.send()).await)
    }

    /// W4: counts one more attempt by the batch's owner, after attempt number `attempts`, before it is made. With a
    /// `keyed` provider that may be an attempt at a batch whose fate is unknown.
    pub async fn again(
        &self,
        batch: &Batch,
        attempts: u32,
        keyed: bool,
        now: Timestamp,
    ) -> Result<Intent, RecordError> {
        let open = if keyed { "#state IN (:started, :unknown)" } else { "#state = :started" };
        let condition = format!("(#attempts = :known AND {open}) OR (#owner = :me AND #attempts = :next)");
        let update = self
            .update(&batch.provider, batch.id, now)
            .update_expression("SET #attempts = :next, #owner = :me, #deadline = :deadline, #updated_at = :now")
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
            Ok(_) => Ok(Intent::Written),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(Intent::Lost(None))
            }
            Err(error) => Err(unavailable("count an attempt")(error)),
        }
    }

    /// W5: records what became of a batch; returns the batch as it stands after that, which may be what
    /// somebody else knew better.
    pub async fn settle(
        &self,
        provider: &str,
        id: BatchId,
        outcome: &Outcome,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Option<Batch>, RecordError> {
        let update = settlement(self.update(provider, id, now), provider, outcome, answer)?;
        let update = update.return_values(ReturnValue::AllNew);
        match crash::around("settle a batch", update.send()).await {
            Ok(answer) => answer.attributes.map(from_item).transpose(),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let UpdateItemError::ConditionalCheckFailedException(found) = error.into_err() else { return Ok(None) };
                found.item.filter(|item| !item.is_empty()).map(from_item).transpose()
            }
            Err(error) => Err(unavailable("settle a batch")(error)),
        }
    }

    /// The refused members of a confirmed batch, or those of one that an operator spoke about, have all been told:
    /// there is nothing to find out any more.
    pub async fn close(&self, provider: &str, id: BatchId, now: Timestamp) -> Result<(), RecordError> {
        let update = self
            .update(provider, id, now)
            .update_expression("SET #updated_at = :now REMOVE #open")
            .condition_expression("#state IN (:confirmed, :rejected)")
            .expression_attribute_names("#open", "open")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":confirmed", attribute(BatchState::Confirmed)?)
            .expression_attribute_values(":rejected", attribute(BatchState::Rejected)?);
        crash::around("close a batch", update.send()).await.map_err(unavailable("close a batch"))?;
        Ok(())
    }

    /// A put with one attribute more, or none: `open`, which lists the batch in the index of that name.
    fn put(&self, batch: &Batch, more: Option<(&str, AttributeValue)>) -> Result<PutItemFluentBuilder, RecordError> {
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

fn written<T>(result: Result<T, SdkError<PutItemError>>) -> Result<Intent, RecordError> {
    Ok(match put_or_found(result, "write a batch")? {
        Put::Done => Intent::Written,
        Put::Found(item) if item.is_empty() => Intent::Lost(None),
        Put::Found(item) => Intent::Lost(Some(from_item::<Batch>(item)?.state)),
    })
}

/// A batch's primary key: its provider and day, and its id.
fn key(provider: &str, id: BatchId) -> Item {
    let provider_day = text(format!("{provider}#{}", id.day()));
    [("provider_day".to_owned(), provider_day), ("id".to_owned(), text(id))].into()
}

fn number(value: u32) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
