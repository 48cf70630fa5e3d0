//! Listing batches, newest first: day by day, page by page, for one provider or several.
//!
//! `query` lists for operators. Batches have no index by time: their partition is a provider's day,
//! so a listing goes back one day at a time.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use domain::batch::{Batch, BatchState};
use domain::id::BatchId;
use futures_util::future::try_join_all;
use jiff::ToSpan;
use jiff::civil::Date;

use crate::batch_page::{BatchPage, merge};
use crate::batches::Batches;
use crate::range::start_of;
use crate::{Item, RecordError, attribute, from_item, text, unavailable};

/// Queries in one listing of a provider's batches. Each takes a few milliseconds and covers
/// a day or less, so a listing ends within seconds even where nothing was sent for months;
/// the next page goes on from there.
const QUERIES_MAX: usize = 100;

impl Batches {
    /// Lists a provider's batches between two ids, both included, newest first, and only those in
    /// `state` if one is given. A page may end before `limit` when the queries are used up.
    pub async fn list(
        &self,
        provider: &str,
        (from, to): (BatchId, BatchId),
        state: Option<BatchState>,
        limit: usize,
    ) -> Result<BatchPage, RecordError> {
        let mut batches: Vec<Batch> = Vec::new();
        let (mut day, mut start) = (to.day(), None);
        for _ in 0..QUERIES_MAX {
            if from > to || day < from.day() {
                return Ok(BatchPage {
                    batches,
                    after: None,
                });
            }
            let (read, rest) = self
                .page(self.between(provider, day, from, to), state, start)
                .await?;
            for batch in read {
                if batches.len() == limit {
                    let after = batches.last().map(|batch| batch.id);
                    return Ok(BatchPage { batches, after });
                }
                batches.push(batch);
            }
            if rest.is_none() {
                day = day.saturating_sub(1.day());
            }
            start = rest;
        }
        // The queries are used up. What is left is older than the last key that was read or, if a
        // day was read to its end, than that day.
        let midnight = BatchId::first_of(start_of(day.saturating_add(1.day())));
        let reached = start
            .as_ref()
            .and_then(|key: &Item| key.get("id")?.as_s().ok()?.parse().ok());
        Ok(BatchPage {
            batches,
            after: Some(reached.unwrap_or(midnight)),
        })
    }

    /// Lists the batches of several providers as one listing.
    pub async fn list_all(
        &self,
        providers: &[&str],
        ids: (BatchId, BatchId),
        state: Option<BatchState>,
        limit: usize,
    ) -> Result<BatchPage, RecordError> {
        let pages = providers
            .iter()
            .map(|provider| self.list(provider, ids, state, limit));
        Ok(merge(try_join_all(pages).await?, limit))
    }

    /// Prepares a query for a provider's batches of one day, from `from` to `to`, both included.
    pub(super) fn between(
        &self,
        provider: &str,
        day: Date,
        from: BatchId,
        to: BatchId,
    ) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#provider_day = :provider_day AND #id BETWEEN :from AND :to")
            .expression_attribute_names("#provider_day", "provider_day")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":provider_day", text(format!("{provider}#{day}")))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to))
    }

    async fn page(
        &self,
        query: QueryFluentBuilder,
        state: Option<BatchState>,
        start: Option<Item>,
    ) -> Result<(Vec<Batch>, Option<Item>), RecordError> {
        let query = query
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
        let read = answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(from_item)
            .collect::<Result<_, _>>()?;
        Ok((read, answer.last_evaluated_key))
    }
}
