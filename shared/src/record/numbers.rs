//! Table Numbers: one item per number that a provider or an operator spoke about.
//!
//! W10 has one condition, which is the rule of [`Number::stands_against`]: a report `invalid` about a message makes
//! the message's recipient INACTIVE unless that is so already, or an operator made it ACTIVE after the message was
//! made. So the write recognises its own repeat, which finds the number INACTIVE, and no repeat or replay of an old
//! report ever undoes an operator's word, with no clock compared but those that made the message and took the word.

use std::collections::{BTreeSet, HashSet};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use jiff::Timestamp;

use super::get_many::get_many;
use super::{Item, Put, RecordError, attribute, from_item, millisecond, put_or_found, text, to_item, unavailable};
use crate::crash;
use crate::message::{Message, Recipient};
use crate::number::{Number, NumberStatus};

const WRITE: &str = "write a number";
/// Who said that a number is invalid, where the record does not know the provider's name.
const A_PROVIDER: &str = "a provider";

/// What a report `invalid` did to its message's recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deactivated {
    Now,
    /// It was INACTIVE before, perhaps by this very write.
    Already,
    /// An operator made it ACTIVE after the message was made.
    Overruled,
}

/// A page of a listing.
#[derive(Debug)]
pub struct NumberPage {
    pub numbers: Vec<Number>,
    /// Behind this one the next page begins, if there is one.
    pub behind: Option<Recipient>,
}

#[derive(Clone)]
pub struct Numbers {
    client: Client,
    table: String,
}

impl Numbers {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: Client::new(config), table }
    }

    /// Which of these are INACTIVE now, in one read per hundred.
    pub async fn inactive(&self, recipients: &[&Recipient]) -> Result<HashSet<Recipient>, RecordError> {
        let recipients: BTreeSet<_> = recipients.iter().copied().collect();
        let keys: Vec<_> = recipients.into_iter().map(key).collect();
        let found: Vec<Number> = get_many(&self.client, &self.table, &keys, "get numbers").await?;
        let inactive = found.into_iter().filter(|number| number.status == NumberStatus::Inactive);
        Ok(inactive.map(|number| number.recipient).collect())
    }

    /// What is known of a number as it is now; nothing, if nobody spoke about it.
    pub async fn get(&self, recipient: &Recipient) -> Result<Option<Number>, RecordError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(recipient)));
        let answer = get.consistent_read(true).send().await.map_err(unavailable("get a number"))?;
        answer.item.map(from_item).transpose()
    }

    /// W10: a provider reported `invalid` about `message`.
    pub async fn deactivate(&self, message: &Message, now: Timestamp) -> Result<Deactivated, RecordError> {
        let number = Number {
            recipient: message.recipient.clone(),
            status: NumberStatus::Inactive,
            since: now,
            by: message.provider.clone().unwrap_or_else(|| A_PROVIDER.to_owned()),
            message_id: Some(message.id),
        };
        let put = self
            .put(&number)?
            .condition_expression("attribute_not_exists(#recipient) OR (#status = :active AND #since < :made)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":active", attribute(NumberStatus::Active)?)
            .expression_attribute_values(":made", millisecond(message.id.created_at()));
        Ok(match put_or_found(crash::around("deactivate a number", put.send()).await, WRITE)? {
            Put::Done => Deactivated::Now,
            Put::Found(item) => match from_item::<Number>(item)?.status {
                NumberStatus::Inactive => Deactivated::Already,
                NumberStatus::Active => Deactivated::Overruled,
            },
        })
    }

    /// An operator's word of `number.since`; returns what is known then, which is another word if that is younger.
    pub async fn set(&self, number: Number) -> Result<Number, RecordError> {
        // A repeat of the write, after a lost answer, is as old as what it finds.
        let put = self
            .put(&number)?
            .condition_expression("attribute_not_exists(#recipient) OR #since <= :now")
            .expression_attribute_values(":now", millisecond(number.since));
        match put_or_found(crash::around("set a number", put.send()).await, WRITE)? {
            Put::Done => Ok(number),
            Put::Found(item) => from_item(item),
        }
    }

    /// Lists the numbers of a status in their own order, so that whatever stays in it while pages are turned is
    /// listed once. What was written a moment ago may be missing.
    pub async fn list(
        &self,
        status: NumberStatus,
        behind: Option<&Recipient>,
        limit: usize,
    ) -> Result<NumberPage, RecordError> {
        let (mut numbers, mut start) = (Vec::new(), None);
        loop {
            let (read, rest) = self.page(status, behind, limit + 1, start).await?;
            numbers.extend(read);
            if numbers.len() > limit {
                numbers.truncate(limit);
                let behind = numbers.last().map(|last: &Number| last.recipient.clone());
                return Ok(NumberPage { numbers, behind });
            }
            if rest.is_none() {
                return Ok(NumberPage { numbers, behind: None });
            }
            start = rest;
        }
    }

    async fn page(
        &self,
        status: NumberStatus,
        behind: Option<&Recipient>,
        limit: usize,
        start: Option<Item>,
    ) -> Result<(Vec<Number>, Option<Item>), RecordError> {
        // No number is as small as a plus alone.
        let behind = behind.map_or("+", Recipient::as_str);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("status")
            .key_condition_expression("#status = :status AND #recipient > :behind")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#recipient", "recipient")
            .expression_attribute_values(":status", attribute(status)?)
            .expression_attribute_values(":behind", text(behind))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(unavailable("list numbers"))?;
        let read = answer.items.unwrap_or_default().into_iter().map(from_item).collect::<Result<_, _>>()?;
        Ok((read, answer.last_evaluated_key))
    }

    /// A put whose condition may speak of `#recipient` and of `#since`.
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
