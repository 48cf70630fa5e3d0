//! Reading many items at once: BatchGetItem in pages, repeated for unprocessed keys.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;

use crate::{Item, RecordError, from_item, unavailable};

/// Keys in one BatchGetItem, by DynamoDB's limit.
const PAGE_MAX: usize = 100;
/// Requests for one page. DynamoDB leaves keys unprocessed when it throttles, or when an answer
/// would exceed 16 MB, which these small items never reach.
const REQUESTS_MAX: usize = 5;

/// Reads items consistently and in no order, leaving out keys without an item. Keys must be
/// distinct, or BatchGetItem refuses them.
pub(super) async fn get_many<T: DeserializeOwned>(
    client: &Client,
    table: &str,
    keys: &[Item],
    action: &'static str,
) -> Result<Vec<T>, RecordError> {
    let pages = keys
        .chunks(PAGE_MAX)
        .map(|page| get_page(client, table, page, action));
    Ok(try_join_all(pages).await?.into_iter().flatten().collect())
}

async fn get_page<T: DeserializeOwned>(
    client: &Client,
    table: &str,
    keys: &[Item],
    action: &'static str,
) -> Result<Vec<T>, RecordError> {
    let mut found = Vec::with_capacity(keys.len());
    let mut keys = keys.to_vec();
    for _ in 0..REQUESTS_MAX {
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(true)
            .build();
        let request = request.map_err(|_| RecordError {
            action,
            cause: "no keys".into(),
        })?;
        let get = client.batch_get_item().request_items(table, request);
        let mut answer = get.send().await.map_err(unavailable(action))?;
        let items = answer
            .responses
            .as_mut()
            .and_then(|tables| tables.remove(table));
        for item in items.unwrap_or_default() {
            found.push(from_item(item)?);
        }
        match answer
            .unprocessed_keys
            .and_then(|mut tables| tables.remove(table))
        {
            Some(rest) if !rest.keys.is_empty() => keys = rest.keys,
            _ => return Ok(found),
        }
    }
    Err(RecordError {
        action,
        cause: "throttled".into(),
    })
}
