//! The record, in DynamoDB, which is the truth about every message; and the doorbell, in SQS,
//! which only says when to look at it.
//!
//! Each table has a file. Every write is conditional and has a W-number, which
//! `shared/ARCHITECTURE.md` lists with its condition. A condition that fails is a value that says
//! what was found instead, not an error. The SDK repeats a write whose answer was lost, so each
//! condition also recognises its own write. All attribute names are aliased, because `state`,
//! `owner`, `name` and more are reserved words, and no other crate knows them. There is no
//! transaction, no index on state, no Scan and no DeleteItem.
//!
//! | to read about | open |
//! |---|---|
//! | table Messages: W1 and reads | [`messages`] |
//! | the transitions of messages from state to state: W2, W6, W8, W9, W11 | [`transitions`] |
//! | listing messages by time | [`range`], [`filter`] |
//! | table Batches: W3, W4, W5, W7, W13 | [`batches`], `settlement` |
//! | listing batches, reading a period | [`batch_list`], [`batch_page`], [`period`] |
//! | tables Providers (W12), Numbers (W10) and Idempotency | [`providers`], [`numbers`], [`idempotency`] |
//! | the tables that a dispatcher needs, together | [`tables`] |
//! | the doorbell | [`queue`] |
//! | time and randomness, AWS clients, crash points for tests | [`clock`], [`aws`], [`crash`] |

pub mod aws;
pub mod batch_list;
pub mod batch_page;
pub mod batches;
pub mod clock;
pub mod crash;
pub mod filter;
mod get_many;
pub mod idempotency;
pub mod messages;
pub mod numbers;
pub mod period;
pub mod providers;
pub mod queue;
pub mod range;
mod settlement;
pub mod tables;
pub mod transitions;

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aws::brief;

/// How long messages and batches are kept, in days: long enough to check last year's invoice.
pub const RETENTION_DAYS: i64 = 400;

type Item = HashMap<String, AttributeValue>;

/// The record could not be reached, or holds an item that this version cannot read. After an error
/// a write may or may not have happened. Every write may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("the record failed to {action}: {cause}")]
pub struct RecordError {
    action: &'static str,
    cause: String,
}

fn unavailable<E: ProvideErrorMetadata, R>(
    action: &'static str,
) -> impl Fn(SdkError<E, R>) -> RecordError {
    move |error| RecordError {
        action,
        cause: brief(&error),
    }
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

/// Leaves out serde's own message, which may quote the value that it could not read.
fn unreadable(_: serde_dynamo::Error) -> RecordError {
    RecordError {
        action: "read an item",
        cause: "an attribute has an unexpected type".to_owned(),
    }
}

fn millisecond(at: Timestamp) -> AttributeValue {
    number(at.as_millisecond())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// What a conditional put did.
enum Put {
    Done,
    /// The condition did not hold for this item.
    Found(Item),
}

/// Turns a failed condition into a value. The put must ask for ALL_OLD.
fn put_or_found<T>(
    result: Result<T, SdkError<PutItemError>>,
    action: &'static str,
) -> Result<Put, RecordError> {
    match result {
        Ok(_) => Ok(Put::Done),
        Err(SdkError::ServiceError(error))
            if error.err().is_conditional_check_failed_exception() =>
        {
            match error.into_err() {
                PutItemError::ConditionalCheckFailedException(found) => {
                    Ok(Put::Found(found.item.unwrap_or_default()))
                }
                _ => Err(RecordError {
                    action,
                    cause: "no reason".into(),
                }),
            }
        }
        Err(error) => Err(unavailable(action)(error)),
    }
}

/// The TTL attribute, which DynamoDB reads in seconds.
fn expires_at(from: Timestamp, keep: SignedDuration) -> AttributeValue {
    number(from.as_second() + keep.as_secs())
}
