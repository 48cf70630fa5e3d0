//! Table Messages: one item per message, in its day's and shard's partition.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use jiff::SignedDuration;

use super::get_many::get_many;
use super::{Item, Put, RETENTION_DAYS, RecordError, expires_at, from_item, put_or_found, text, to_item, unavailable};
use crate::crash;
use crate::id::MessageId;
use crate::message::Message;

/// What became of a message that a caller was promised.
#[derive(Debug)]
pub enum Accepted {
    New,
    /// It was recorded before, by an earlier call or by a repeat of this very write.
    Already(Box<Message>),
}

#[derive(Clone)]
pub struct Messages {
    pub(super) client: Client,
    pub(super) table: String,
}

impl Messages {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: Client::new(config), table }
    }

    /// Opens the connection, whatever comes of it: the item does not exist.
    pub async fn warm_up(&self) {
        let nobody = [("day_shard".to_owned(), text("-")), ("id".to_owned(), text("-"))];
        let _ = self.client.get_item().table_name(&self.table).set_key(Some(nobody.into())).send().await;
    }

    /// W1: records a message once.
    pub async fn accept(&self, message: &Message) -> Result<Accepted, RecordError> {
        let mut item = to_item(message)?;
        item.insert("day_shard".into(), text(message.id.day_shard()));
        let keep = SignedDuration::from_hours(24 * RETENTION_DAYS);
        item.insert("expires_at".into(), expires_at(message.id.created_at(), keep));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let put = put
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", "id")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(match put_or_found(crash::around("accept a message", put.send()).await, "accept a message")? {
            Put::Done => Accepted::New,
            Put::Found(item) => Accepted::Already(Box::new(from_item(item)?)),
        })
    }

    /// Reads one message as it is now.
    pub async fn get(&self, id: MessageId) -> Result<Option<Message>, RecordError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(id)));
        let answer = get.consistent_read(true).send().await.map_err(unavailable("get a message"))?;
        answer.item.map(from_item).transpose()
    }

    /// Reads messages as they are now, in no order; unknown ids are left out.
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
    [("day_shard".to_owned(), text(id.day_shard())), ("id".to_owned(), text(id))].into()
}
