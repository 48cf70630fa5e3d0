//! Listing batches, newest first: day by day, page by page.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::ToSpan;

use super::batches::Batches;
use super::{Item, RecordError, attribute, from_item, text, unavailable};
use crate::batch::{Batch, BatchState};
use crate::id::BatchId;

/// Queries that one listing makes: one a day at least.
const QUERIES_MAX: usize = 100;

/// A page of a listing.
#[derive(Debug)]
pub struct BatchPage {
    pub batches: Vec<Batch>,
    /// Behind this one the next page begins, if anything may be there.
    pub behind: Option<BatchId>,
}

impl Batches {
    /// Lists a provider's batches from `to` down to `from`, both included; in one state only, if one is given.
    pub async fn list(
        &self,
        provider: &str,
        from: BatchId,
        to: BatchId,
        state: Option<BatchState>,
        limit: usize,
    ) -> Result<BatchPage, RecordError> {
        let mut batches: Vec<Batch> = Vec::new();
        let (mut day, mut start) = (to.day(), None);
        for _ in 0..QUERIES_MAX {
            if from > to || day < from.day() {
                return Ok(BatchPage { batches, behind: None });
            }
            let provider_day = text(format!("{provider}#{day}"));
            let (read, rest) = self.page(provider_day, from, to, state, start).await?;
            for batch in read {
                if batches.len() == limit {
                    let behind = batches.last().map(|batch| batch.id);
                    return Ok(BatchPage { batches, behind });
                }
                batches.push(batch);
            }
            if rest.is_none() {
                day = day.saturating_sub(1.day());
            }
            start = rest;
        }
        // Out of queries: all that is left is older than what was read, or than the day that was reached.
        let midnight = BatchId::first_of(super::range::start_of(day.saturating_add(1.day())));
        let reached = start.as_ref().and_then(|key: &Item| key.get("id")?.as_s().ok()?.parse().ok());
        Ok(BatchPage { batches, behind: Some(reached.unwrap_or(midnight)) })
    }

    async fn page(
        &self,
        provider_day: AttributeValue,
        from: BatchId,
        to: BatchId,
        state: Option<BatchState>,
        start: Option<Item>,
    ) -> Result<(Vec<Batch>, Option<Item>), RecordError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#provider_day = :provider_day AND #id BETWEEN :from AND :to")
            .expression_attribute_names("#provider_day", "provider_day")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":provider_day", provider_day)
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to))
            .scan_index_forward(false)
            .set_exclusive_start_key(start);
        let query = match state {
            Some(state) => query
                .filter_expression("#state = :state")
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":state", attribute(state)?),
            None => query,
        };
        let answer = query.send().await.map_err(unavailable("list batches"))?;
        let read = answer.items.unwrap_or_default().into_iter().map(from_item).collect::<Result<_, _>>()?;
        Ok((read, answer.last_evaluated_key))
    }
}
