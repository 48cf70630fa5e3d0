//! Listing batches, newest first: day by day, page by page, of one provider or several.

use std::cmp::Reverse;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures_util::future::try_join_all;
use jiff::ToSpan;
use jiff::civil::Date;

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
            let (read, rest) = self.page(self.between(provider, day, from, to), state, start).await?;
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

    /// Lists the batches of several providers as one.
    pub async fn list_all(
        &self,
        providers: &[&str],
        from: BatchId,
        to: BatchId,
        state: Option<BatchState>,
        limit: usize,
    ) -> Result<BatchPage, RecordError> {
        let pages = providers.iter().map(|provider| self.list(provider, from, to, state, limit));
        Ok(merged(try_join_all(pages).await?, limit))
    }

    /// The batch, whichever of these providers it was made for.
    pub async fn find(&self, providers: &[&str], id: BatchId) -> Result<Option<Batch>, RecordError> {
        let found = try_join_all(providers.iter().map(|provider| self.get(provider, id))).await?;
        Ok(found.into_iter().flatten().next())
    }

    /// A query for a provider's batches of one day, from `from` to `to`, both included.
    pub(super) fn between(&self, provider: &str, day: Date, from: BatchId, to: BatchId) -> QueryFluentBuilder {
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
        let query = query.scan_index_forward(false).set_exclusive_start_key(start);
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

/// One page of several, each newest first: down to the place that all of them were read to.
fn merged(pages: Vec<BatchPage>, limit: usize) -> BatchPage {
    let reached = pages.iter().filter_map(|page| page.behind).max();
    let mut batches: Vec<_> = pages.into_iter().flat_map(|page| page.batches).collect();
    batches.retain(|batch| reached.is_none_or(|reached| batch.id >= reached));
    batches.sort_unstable_by_key(|batch| Reverse(batch.id));
    let more = batches.len() > limit;
    batches.truncate(limit);
    let behind = if more { batches.last().map(|batch| batch.id) } else { reached };
    BatchPage { batches, behind }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> BatchId {
        BatchId::first_of(Timestamp::from_millisecond(1 + i64::from(n)).unwrap())
    }

    fn batch(n: u8) -> Batch {
        Batch {
            id: id(n),
            provider: String::new(),
            state: BatchState::Confirmed,
            members: Vec::new(),
            attempts: 1,
            ambiguous: false,
            owner: String::new(),
            deadline: Timestamp::UNIX_EPOCH,
            http_status: None,
            request_id: None,
            refused: Vec::new(),
            last_error: None,
            requeue: None,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// What `list` answers for ids from `to` down, when it may look at so many of them before it stops early.
    fn page(ids: &[u8], to: BatchId, limit: usize, looks: usize) -> BatchPage {
        let below: Vec<_> = ids.iter().rev().filter(|n| id(**n) <= to).copied().collect();
        let taken = below.len().min(limit).min(looks);
        let batches: Vec<_> = below[..taken].iter().map(|n| batch(*n)).collect();
        let stopped = taken < below.len();
        BatchPage { behind: stopped.then(|| batches.last().map_or(to, |batch| batch.id)), batches }
    }

    proptest! {
        /// Page by page, with pages that stop early, every batch of every provider is listed once, newest first.
        #[test]
        fn merged_pages_lose_and_repeat_nothing(
            owners in btree_map(any::<u8>(), 0_usize..3, 0..60),
            limit in 1_usize..9,
            looks in vec(1_usize..9, 3),
        ) {
            let ids_of = |provider| owners.iter().filter(move |(_, owner)| **owner == provider).map(|(n, _)| *n);
            let ids: Vec<Vec<_>> = (0..3).map(|provider| ids_of(provider).collect()).collect();
            let (mut to, mut listed) = (id(u8::MAX), Vec::new());
            loop {
                let pages = ids.iter().zip(&looks).map(|(ids, looks)| page(ids, to, limit, *looks)).collect();
                let BatchPage { batches, behind } = merged(pages, limit);
                prop_assert!(batches.len() <= limit);
                listed.extend(batches.into_iter().map(|batch| batch.id));
                let Some(behind) = behind else { break };
                to = behind.before();
            }
            let expected: Vec<_> = owners.keys().rev().map(|n| id(*n)).collect();
            prop_assert_eq!(listed, expected);
        }
    }
}
