//! Table Numbers: one item per number that was reported as invalid or decided about.
//!
//! `status` writes it; `send` and the dispatcher read it before they accept or send a message.
//!
//! W10's condition is the rule of [`Number::stands_against`]: a report `invalid` about a message
//! makes the message's recipient INACTIVE, unless it is INACTIVE already or an operator made it
//! ACTIVE after the message was created. So the write recognises its own repeat, which finds the
//! number INACTIVE, and no repeat of an old report undoes an operator's decision. The only clocks
//! compared are the one that created the message and the one that stamped the decision.

use std::collections::{BTreeSet, HashSet};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use domain::message::Message;
use domain::number::{Number, NumberStatus};
use domain::recipient::Recipient;
use jiff::Timestamp;

use crate::get_many::get_many;
use crate::{
    Item, Put, RecordError, attribute, crash, from_item, millisecond, put_or_found, text, to_item,
    unavailable,
};

const WRITE: &str = "write a number";
/// Stands for the reporting provider where the message has no provider on record.
const A_PROVIDER: &str = "a provider";

/// What W10 did to the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deactivated {
    Now,
    /// It was INACTIVE before, or is by this very write, which the SDK repeated.
    Already,
    /// An operator made it ACTIVE after the message was created.
    Overruled,
}

/// A page of a listing, in order of the numbers.
#[derive(Debug)]
pub struct NumberPage {
    pub numbers: Vec<Number>,
    /// The next page begins after this number. `None` if the listing is complete.
    pub after: Option<Recipient>,
}

/// The table.
#[derive(Clone)]
pub struct Numbers {
    client: Client,
    table: String,
}

impl Numbers {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: Client::new(config),
            table,
        }
    }

    /// Returns those that are INACTIVE. Reads consistently, 100 numbers at a time.
    pub async fn inactive(
        &self,
        recipients: &[&Recipient],
    ) -> Result<HashSet<Recipient>, RecordError> {
        let recipients: BTreeSet<_> = recipients.iter().copied().collect();
        let keys: Vec<_> = recipients.into_iter().map(key).collect();
        let found: Vec<Number> = get_many(&self.client, &self.table, &keys, "get numbers").await?;
        let inactive = found
            .into_iter()
            .filter(|number| number.status == NumberStatus::Inactive);
        Ok(inactive.map(|number| number.recipient).collect())
    }

    /// Reads a number consistently. `None` if it was never reported or decided about, which
    /// means that messages are sent to it.
    pub async fn get(&self, recipient: &Recipient) -> Result<Option<Number>, RecordError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(recipient)));
        let answer = get
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable("get a number"))?;
        answer.item.map(from_item).transpose()
    }

    /// W10: makes the recipient of `message` INACTIVE, because a provider reported it as invalid.
    pub async fn deactivate(
        &self,
        message: &Message,
        now: Timestamp,
    ) -> Result<Deactivated, RecordError> {
        let number = Number {
            recipient: message.recipient.clone(),
            status: NumberStatus::Inactive,
            since: now,
            by: message
                .provider
                .clone()
                .unwrap_or_else(|| A_PROVIDER.to_owned()),
            message_id: Some(message.id),
        };
        let put = self
            .put(&number)?
            .condition_expression(
                "attribute_not_exists(#recipient) OR (#status = :active AND #since < :made)",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":active", attribute(NumberStatus::Active)?)
            .expression_attribute_values(":made", millisecond(message.id.created_at()));
        Ok(
            match put_or_found(
                crash::around("deactivate a number", put.send()).await,
                WRITE,
            )? {
                Put::Done => Deactivated::Now,
                Put::Found(item) => match from_item::<Number>(item)?.status {
                    NumberStatus::Inactive => Deactivated::Already,
                    NumberStatus::Active => Deactivated::Overruled,
                },
            },
        )
    }

    /// Records an operator's decision, made at `number.since`. Returns the number as it is then,
    /// which is another decision or report if that is more recent.
    pub async fn set(&self, number: Number) -> Result<Number, RecordError> {
        // `<=` recognises a repeat of this write by the SDK, which finds its own `since`.
        let put = self
            .put(&number)?
            .condition_expression("attribute_not_exists(#recipient) OR #since <= :now")
            .expression_attribute_values(":now", millisecond(number.since));
        match put_or_found(crash::around("set a number", put.send()).await, WRITE)? {
            Put::Done => Ok(number),
            Put::Found(item) => from_item(item),
        }
    }

    /// Lists the numbers with a status in the order of the numbers, so that one whose status does
    /// not change between two pages is listed exactly once. A number that was written a moment ago
    /// may be missing, because an index is read eventually consistently.
    pub async fn list(
        &self,
        status: NumberStatus,
        after: Option<&Recipient>,
        limit: usize,
    ) -> Result<NumberPage, RecordError> {
        let (mut numbers, mut start) = (Vec::new(), None);
        loop {
            let (read, rest) = self.page(status, after, limit + 1, start).await?;
            numbers.extend(read);
            if numbers.len() > limit {
                numbers.truncate(limit);
                let after = numbers.last().map(|last: &Number| last.recipient.clone());
                return Ok(NumberPage { numbers, after });
            }
            if rest.is_none() {
                return Ok(NumberPage {
                    numbers,
                    after: None,
                });
            }
            start = rest;
        }
    }

    async fn page(
        &self,
        status: NumberStatus,
        after: Option<&Recipient>,
        limit: usize,
        start: Option<Item>,
    ) -> Result<(Vec<Number>, Option<Item>), RecordError> {
        // Every number sorts after a plus alone.
        let after = after.map_or("+", Recipient::as_str);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("status")
            .key_condition_expression("#status = :status AND #recipient > :after")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#recipient", "recipient")
            .expression_attribute_values(":status", attribute(status)?)
            .expression_attribute_values(":after", text(after))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(unavailable("list numbers"))?;
        let read = answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(from_item)
            .collect::<Result<_, _>>()?;
        Ok((read, answer.last_evaluated_key))
    }

    /// Prepares a put whose condition can use `#recipient` and `#since`.
    fn put(&self, number: &Number) -> Result<PutItemFluentBuilder, RecordError> {
        Ok(self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(number)?))
            .expression_attribute_names("#recipient", "recipient")
            .expression_attribute_names("#since", "since")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld))
    }
}

/// A number's primary key.
fn key(recipient: &Recipient) -> Item {
    [("recipient".to_owned(), text(recipient.as_str()))].into()
}
