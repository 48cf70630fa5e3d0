//! The record, in DynamoDB: the truth about every message.
//!
//! Each table has a file. Every write is conditional, and a condition that fails is a value that says what was
//! found instead, not an error. The SDK repeats a write whose answer was lost, so each condition also
//! recognises its own write. All attribute names are aliased: `state`, `owner`, `name` and more are
//! reserved words. There is no transaction, no index on state, no Scan and no DeleteItem.

pub mod batch_list;
pub mod batches;
mod get_many;
pub mod idempotency;
pub mod messages;
pub mod moves;
pub mod numbers;
pub mod period;
pub mod providers;
pub mod range;
mod settlement;

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aws::brief;
use crate::state::State;

/// How long messages and batches are kept: an invoice of last year can still be checked.
pub const RETENTION_DAYS: i64 = 400;

type Item = HashMap<String, AttributeValue>;

/// A value of an attribute.
pub type Value = AttributeValue;

/// The record could not be reached, or holds what this version can't read. Whoever asked may ask again.
#[derive(Debug, thiserror::Error)]
#[error("the record failed to {action}: {cause}")]
pub struct RecordError {
    action: &'static str,
    cause: String,
}

fn unavailable<E: ProvideErrorMetadata, R>(action: &'static str) -> impl Fn(SdkError<E, R>) -> RecordError {
    move |error| RecordError { action, cause: brief(&error) }
}

fn to_item(value: &impl Serialize) -> Result<Item, RecordError> {
    serde_dynamo::to_item(value).map_err(unreadable)
}

fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, RecordError> {
    serde_dynamo::from_item(item).map_err(unreadable)
}

fn attribute(value: impl Serialize) -> Result<AttributeValue, RecordError> {
    serde_dynamo::to_attribute_value(value).map_err(unreadable)
}

// serde's own message may quote the value that it could not take, so it stays out.
fn unreadable(_: serde_dynamo::Error) -> RecordError {
    RecordError { action: "be read", cause: "an attribute has an unexpected shape".to_owned() }
}

fn millisecond(at: Timestamp) -> AttributeValue {
    AttributeValue::N(at.as_millisecond().to_string())
}

/// States as the values of a filter.
pub fn state_values(states: &[State]) -> Result<Vec<AttributeValue>, RecordError> {
    states.iter().map(attribute).collect()
}

/// A text as an attribute.
pub fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// A conditional put.
enum Put {
    Done,
    /// The condition did not hold, because of this item.
    Found(Item),
}

/// A condition that failed is a value: whoever asked for ALL_OLD finds what stood in its way.
fn put_or_found<T>(result: Result<T, SdkError<PutItemError>>, action: &'static str) -> Result<Put, RecordError> {
    match result {
        Ok(_) => Ok(Put::Done),
        Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
            match error.into_err() {
                PutItemError::ConditionalCheckFailedException(found) => Ok(Put::Found(found.item.unwrap_or_default())),
                _ => Err(RecordError { action, cause: "no reason".into() }),
            }
        }
        Err(error) => Err(unavailable(action)(error)),
    }
}

/// The TTL attribute, which DynamoDB reads in seconds.
fn expires_at(from: Timestamp, keep: SignedDuration) -> AttributeValue {
    AttributeValue::N((from.as_second() + keep.as_secs()).to_string())
}
