//! Table Idempotency: which message a caller's Idempotency-Key stands for, for 24 hours.
//!
//! `send` reserves a key before it records the message (W1), so a repeat of the call finds the same
//! id and W1 finds the same item.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use domain::id::MessageId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Item, Put, RecordError, crash, expires_at, from_item, number, put_or_found, text, to_item,
    unavailable,
};

/// How long a key is remembered, in hours: a day covers a caller's own outage.
const LIFETIME_H: i64 = 24;

/// What a key stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The key was unused, and now stands for this call's message.
    Fresh,
    /// An earlier call made this message from the same request.
    Known(MessageId),
    /// An earlier call used the key for a different request.
    Conflict,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    /// The client's name and its key, as [`key_of`] joins them.
    key: String,
    message_id: MessageId,
    request_hash: String,
}

impl Entry {
    /// What the key stands for, for a call whose request has this hash.
    fn stands_for(&self, request_hash: &str) -> Reserved {
        if self.request_hash == request_hash {
            Reserved::Known(self.message_id)
        } else {
            Reserved::Conflict
        }
    }
}

/// The table.
#[derive(Clone)]
pub struct Idempotency {
    client: Client,
    table: String,
}

impl Idempotency {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: Client::new(config),
            table,
        }
    }

    /// Looks up what `client`'s `key` stands for, for a request with this hash. Reserves nothing.
    pub async fn find(
        &self,
        (client, key): (&str, &str),
        request_hash: &str,
        now: Timestamp,
    ) -> Result<Option<Reserved>, RecordError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("key", text(key_of(client, key)));
        let answer = get
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("find a key"))?;
        // DynamoDB may take days to remove an expired item.
        let expired = |item: &Item| item.get("expires_at").is_some_and(|at| has_passed(at, now));
        let Some(item) = answer.item.filter(|item| !expired(item)) else {
            return Ok(None);
        };
        Ok(Some(from_item::<Entry>(item)?.stands_for(request_hash)))
    }

    /// Makes `client`'s `key` stand for the message `id`, made from a request with this
    /// hash, if it stands for nothing yet.
    pub async fn reserve(
        &self,
        (client, key): (&str, &str),
        id: MessageId,
        request_hash: &str,
        now: Timestamp,
    ) -> Result<Reserved, RecordError> {
        let entry = Entry {
            key: key_of(client, key),
            message_id: id,
            request_hash: request_hash.to_owned(),
        };
        let mut item = to_item(&entry)?;
        item.insert(
            "expires_at".into(),
            expires_at(now, SignedDuration::from_hours(LIFETIME_H)),
        );
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            // DynamoDB may take days to remove an expired item.
            .condition_expression("attribute_not_exists(#key) OR #expires_at <= :now")
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_values(":now", number(now.as_second()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(
            match put_or_found(
                crash::around("reserve a key", put.send()).await,
                "reserve a key",
            )? {
                Put::Done => Reserved::Fresh,
                Put::Found(item) => {
                    let found: Entry = from_item(item)?;
                    // This is our own write: its answer was lost, and the SDK repeated it.
                    if found.message_id == id {
                        Reserved::Fresh
                    } else {
                        found.stands_for(&entry.request_hash)
                    }
                }
            },
        )
    }
}

/// The table's key. No client's name holds a '#', so two clients never share one.
fn key_of(client: &str, key: &str) -> String {
    format!("{client}#{key}")
}

fn has_passed(expires_at: &AttributeValue, now: Timestamp) -> bool {
    let second = expires_at
        .as_n()
        .ok()
        .and_then(|second| second.parse::<i64>().ok());
    second.is_some_and(|second| second <= now.as_second())
}
