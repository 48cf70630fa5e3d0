//! Table Providers: one item per provider, its standing.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use super::get_many::get_many;
use super::{Item, Put, RecordError, from_item, put_or_found, text, to_item};
use crate::crash;
use crate::standing::Standing;

const READ: &str = "read the providers";
const WRITE: &str = "write a provider";
/// Races lost to other dispatchers before a change is given up.
const RACES_MAX: usize = 8;

/// What a write that compares did.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Somebody else wrote in between.
    Raced,
}

#[derive(Clone)]
pub struct Providers {
    client: Client,
    table: String,
}

impl Providers {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: Client::new(config), table }
    }

    /// The standings of these providers as they are now, in their order.
    pub async fn standings(&self, names: &[&str]) -> Result<Vec<Standing>, RecordError> {
        let keys: Vec<_> = names.iter().map(|name| Item::from([("name".to_owned(), text(name))])).collect();
        let found: Vec<Standing> = get_many(&self.client, &self.table, &keys, READ).await?;
        let mut found: HashMap<_, _> = found.into_iter().map(|standing| (standing.name.clone(), standing)).collect();
        Ok(names.iter().map(|name| found.remove(*name).unwrap_or_else(|| Standing::new(name))).collect())
    }

    /// W12: `new` in place of `seen`, if nobody wrote in between. `writer` is a name that no other write has.
    pub async fn write(&self, seen: &Standing, new: Standing, writer: String) -> Result<Written, RecordError> {
        let new = Standing { version: seen.version + 1, written_by: writer, ..new };
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(&new)?))
            // Also where an earlier deployment left an item that had no versions yet.
            .condition_expression("attribute_not_exists(#version) OR #version = :seen")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":seen", AttributeValue::N(seen.version.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(match put_or_found(crash::around("write a provider", put.send()).await, WRITE)? {
            Put::Done => Written::Done,
            Put::Found(item) => {
                let found: Standing = from_item(item)?;
                // Our own write, whose answer was lost and which the SDK repeated.
                if found.written_by == new.written_by { Written::Done } else { Written::Raced }
            }
        })
    }

    /// Changes a provider's standing, whoever else does at the same time; returns what it is then.
    pub async fn change(
        &self,
        name: &str,
        writer: impl Fn() -> String,
        change: impl Fn(&Standing) -> Standing,
    ) -> Result<Standing, RecordError> {
        for _ in 0..RACES_MAX {
            let Some(seen) = self.standings(&[name]).await?.pop() else { break };
            let new = change(&seen);
            if new == seen || self.write(&seen, new.clone(), writer()).await? == Written::Done {
                return Ok(new);
            }
        }
        Err(RecordError { action: WRITE, cause: "raced".into() })
    }
}
