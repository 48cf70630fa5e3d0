//! Table Messages: one item per message, in the partition of its day and shard.
//!
//! `send` writes W1; the writes that change a message's state are in
//! [`transitions`](crate::transitions).

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use domain::id::MessageId;
use domain::message::Message;
use jiff::SignedDuration;

use crate::get_many::get_many;
use crate::{
    Item, Put, RETENTION_DAYS, RecordError, crash, expires_at, from_item, put_or_found, text,
    to_item, unavailable,
};

/// What W1 did.
#[derive(Debug)]
pub enum Accepted {
    New,
    /// The message was there, from an earlier call or from this write, which the SDK repeated.
    Already(Box<Message>),
}

/// The table.
#[derive(Clone)]
pub struct Messages {
    pub(super) client: Client,
    pub(super) table: String,
}

impl Messages {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: Client::new(config),
            table,
        }
    }

    /// Opens the connection by asking for an item that does not exist. The result does not matter.
    pub async fn warm_up(&self) {
        let no_key = [
            ("day_shard".to_owned(), text("-")),
            ("id".to_owned(), text("-")),
        ];
        let _ = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(no_key.into()))
            .send()
            .await;
    }

    /// W1: records a message, unless one with its id is there.
    pub async fn accept(&self, message: &Message) -> Result<Accepted, RecordError> {
        let mut item = to_item(message)?;
        item.insert("day_shard".into(), text(message.id.day_shard()));
        let keep = SignedDuration::from_hours(24 * RETENTION_DAYS);
        item.insert(
            "expires_at".into(),
            expires_at(message.id.created_at(), keep),
        );
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item));
        let put = put
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", "id")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(
            match put_or_found(
                crash::around("accept a message", put.send()).await,
                "accept a message",
            )? {
                Put::Done => Accepted::New,
                Put::Found(item) => Accepted::Already(Box::new(from_item(item)?)),
            },
        )
    }

    /// Reads a message consistently.
    pub async fn get(&self, id: MessageId) -> Result<Option<Message>, RecordError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(id)));
        let answer = get
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("get a message"))?;
        answer.item.map(from_item).transpose()
    }

    /// Reads messages consistently and in no order, leaving out unknown ids. Ids may be repeated.
    pub async fn get_many(&self, ids: &[MessageId]) -> Result<Vec<Message>, RecordError> {
        let mut ids = ids.to_vec();
        ids.sort();
        ids.dedup();
        let keys: Vec<_> = ids.into_iter().map(key).collect();
        get_many(&self.client, &self.table, &keys, "get messages").await
    }
}

/// A message's primary key.
fn key(id: MessageId) -> Item {
    [
        ("day_shard".to_owned(), text(id.day_shard())),
        ("id".to_owned(), text(id)),
    ]
    .into()
}
