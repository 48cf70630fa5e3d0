//! Table Providers: one item per provider, which holds when its next request may be sent.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::{SignedDuration, Timestamp};

use super::{Item, RecordError, millisecond, text, unavailable};
use crate::crash;
use crate::pace::{Pace, Slot};

/// Races lost to other dispatchers before a slot counts as not to be had.
const RACES_MAX: usize = 4;

/// What there was to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Slot(Slot),
    /// No slot within reach: the next one is not before this moment.
    NotBefore(Timestamp),
}

#[derive(Clone)]
pub struct Slots {
    client: Client,
    table: String,
}

impl Slots {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: Client::new(config), table }
    }

    /// W12: takes the provider's next slot, if there is one within `wait_max`.
    ///
    /// A repeat after a lost answer takes a slot too many: that costs an interval, never the rate.
    pub async fn take(
        &self,
        provider: &str,
        pace: Pace,
        wait_max: SignedDuration,
        now: Timestamp,
    ) -> Result<Taken, RecordError> {
        let latest = now + wait_max;
        for _ in 0..RACES_MAX {
            let next = self.next(provider, pace, latest, now).send();
            let next = crash::around("take the next slot", next).await.map(|answer| answer.attributes);
            if let Written::Done(old) = written(next)? {
                return Ok(Taken::Slot(Slot::new(next_at(&old).unwrap_or(now))));
            }
            let first = self.first(provider, pace, now).send();
            let first = crash::around("take the first slot", first).await.map(|answer| answer.attributes);
            match written(first)? {
                Written::Done(_) => return Ok(Taken::Slot(Slot::new(now))),
                Written::Found(item) => match next_at(&item) {
                    Some(next_at) if next_at > latest => return Ok(Taken::NotBefore(next_at)),
                    // Another dispatcher took a slot between the two writes.
                    _ => {}
                },
            }
        }
        Ok(Taken::NotBefore(latest))
    }

    /// The slots reach ahead of now: the next one is where they end.
    fn next(&self, provider: &str, pace: Pace, latest: Timestamp, now: Timestamp) -> UpdateItemFluentBuilder {
        self.update(provider)
            .update_expression("SET #next_at = #next_at + :interval")
            .condition_expression("#next_at > :now AND #next_at <= :latest")
            .expression_attribute_values(":interval", AttributeValue::N(pace.interval().as_millis().to_string()))
            .expression_attribute_values(":now", millisecond(now))
            .expression_attribute_values(":latest", millisecond(latest))
    }

    /// No slot is ahead of now: the next one is now.
    fn first(&self, provider: &str, pace: Pace, now: Timestamp) -> UpdateItemFluentBuilder {
        self.update(provider)
            .update_expression("SET #next_at = :next")
            .condition_expression("attribute_not_exists(#next_at) OR #next_at <= :now")
            .expression_attribute_values(":now", millisecond(now))
            .expression_attribute_values(":next", millisecond(now + pace.interval()))
    }

    /// The provider asked for a pause: no slot before `until`.
    pub async fn pause(&self, provider: &str, until: Timestamp) -> Result<(), RecordError> {
        let pause = self
            .update(provider)
            .update_expression("SET #next_at = :until")
            .condition_expression("attribute_not_exists(#next_at) OR #next_at < :until")
            .expression_attribute_values(":until", millisecond(until));
        written(crash::around("pause", pause.send()).await.map(|answer| answer.attributes)).map(drop)
    }

    fn update(&self, provider: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("name", text(provider))
            .expression_attribute_names("#next_at", "next_at")
            .return_values(ReturnValue::UpdatedOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// A conditional write, with the attributes that it replaced or that stood in its way.
enum Written {
    Done(Item),
    Found(Item),
}

fn written(result: Result<Option<Item>, SdkError<UpdateItemError>>) -> Result<Written, RecordError> {
    match result {
        Ok(old) => Ok(Written::Done(old.unwrap_or_default())),
        Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
            let UpdateItemError::ConditionalCheckFailedException(found) = error.into_err() else {
                return Ok(Written::Found(Item::new()));
            };
            Ok(Written::Found(found.item.unwrap_or_default()))
        }
        Err(error) => Err(unavailable("take a slot")(error)),
    }
}

fn next_at(item: &Item) -> Option<Timestamp> {
    let millisecond = item.get("next_at")?.as_n().ok()?.parse().ok()?;
    Timestamp::from_millisecond(millisecond).ok()
}
