//! Table Providers: one item per provider, its [`ProviderState`]: slots, breaker and share.
//!
//! The dispatcher and the sweep write it (W12); `send` reads it to see whether any provider can be
//! reached. Every write compares the version that was read, so that concurrent writers lose
//! nothing and count nothing twice.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use domain::provider_state::ProviderState;

use crate::get_many::get_many;
use crate::{Item, Put, RecordError, crash, from_item, number, put_or_found, text, to_item};

const READ: &str = "read the providers";
const WRITE: &str = "write a provider";
/// Attempts at a change. One fails only if another process wrote in between, and five
/// dispatchers and a sweep run at once.
const RACES_MAX: usize = 8;

/// What W12 did.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Another process wrote in between, so nothing was written.
    Raced,
}

/// The table.
#[derive(Clone)]
pub struct Providers {
    client: Client,
    table: String,
}

impl Providers {
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: Client::new(config),
            table,
        }
    }

    /// Reads the states of these providers consistently and in order.
    /// Without an item it is a new state.
    pub async fn states(&self, names: &[&str]) -> Result<Vec<ProviderState>, RecordError> {
        let keys: Vec<_> = names
            .iter()
            .map(|name| Item::from([("name".to_owned(), text(name))]))
            .collect();
        let found: Vec<ProviderState> = get_many(&self.client, &self.table, &keys, READ).await?;
        let mut found: HashMap<_, _> = found
            .into_iter()
            .map(|state| (state.name.clone(), state))
            .collect();
        Ok(names
            .iter()
            .map(|name| {
                found
                    .remove(*name)
                    .unwrap_or_else(|| ProviderState::new(name))
            })
            .collect())
    }

    /// W12: replaces `seen` by `new`, unless another process wrote in between. `writer` identifies
    /// this write and is used for no other one.
    pub async fn write(
        &self,
        seen: &ProviderState,
        new: ProviderState,
        writer: String,
    ) -> Result<Written, RecordError> {
        let new = ProviderState {
            version: seen.version + 1,
            written_by: writer,
            ..new
        };
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(&new)?))
            // A provider without an item has no version.
            .condition_expression("attribute_not_exists(#version) OR #version = :seen")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":seen", number(seen.version))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(
            match put_or_found(crash::around("write a provider", put.send()).await, WRITE)? {
                Put::Done => Written::Done,
                Put::Found(item) => {
                    let found: ProviderState = from_item(item)?;
                    // This is our own write: its answer was lost, and the SDK repeated it.
                    if found.written_by == new.written_by {
                        Written::Done
                    } else {
                        Written::Raced
                    }
                }
            },
        )
    }

    /// Applies `change` to a provider's state, again if another process wrote in between. Returns
    /// the state afterwards. Fails if that happens too often.
    pub async fn change(
        &self,
        name: &str,
        writer: impl Fn() -> String,
        change: impl Fn(&ProviderState) -> ProviderState,
    ) -> Result<ProviderState, RecordError> {
        for _ in 0..RACES_MAX {
            let Some(seen) = self.states(&[name]).await?.pop() else {
                break;
            };
            let new = change(&seen);
            if new == seen || self.write(&seen, new.clone(), writer()).await? == Written::Done {
                return Ok(new);
            }
        }
        Err(RecordError {
            action: WRITE,
            cause: "raced".into(),
        })
    }
}
