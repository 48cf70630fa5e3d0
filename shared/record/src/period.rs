//! Reading all batches of a period, in no order and without keeping them. `query` makes statistics
//! and reconciliations from them.
//!
//! The period is cut into slices, which are read concurrently, one page of each at a time. A
//! reading that runs out of time says so, because figures of a part look like figures of the whole.

use domain::batch::Batch;
use domain::id::BatchId;
use domain::reconciliation::Recorded;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::batches::Batches;
use crate::range::bounds;
use crate::{Item, RecordError, clock, from_item, unavailable};

/// The length of a slice, in milliseconds: a quarter of a day, so none spans two partitions.
const SLICE_MS: i64 = 6 * 60 * 60 * 1_000;
/// Slices read at once. Each has at most one page of 1 MB in memory, and the function has 256 MB.
const SLICES_AT_ONCE: usize = 4;

/// The attributes that [`Recorded`] is read from.
const RECORDED: [&str; 4] = ["id", "state", "request_id", "updated_at"];

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reading {
    Complete,
    /// The time ran out after this many batches.
    OutOfTime(usize),
}

/// A provider's batches of some time.
#[derive(Clone, Copy, Debug)]
pub struct Period<'a> {
    pub provider: &'a str,
    /// The batches began at `from` or later, and before `to`.
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Batches {
    /// Calls `take` with every batch of the period, until the time `until`.
    pub async fn each_batch(
        &self,
        period: Period<'_>,
        until: Timestamp,
        take: impl FnMut(Batch),
    ) -> Result<Reading, RecordError> {
        self.each(period, &[], until, take).await
    }

    /// Does the same, but reads only the attributes that a reconciliation needs.
    pub async fn each_recorded(
        &self,
        period: Period<'_>,
        until: Timestamp,
        take: impl FnMut(Recorded),
    ) -> Result<Reading, RecordError> {
        self.each(period, &RECORDED, until, take).await
    }

    /// Reads these attributes of every batch, or all attributes if none is named.
    async fn each<T: DeserializeOwned + Send>(
        &self,
        period: Period<'_>,
        attributes: &[&str],
        until: Timestamp,
        mut take: impl FnMut(T),
    ) -> Result<Reading, RecordError> {
        let slices = slices(period.from, period.to);
        let pages = stream::iter(slices)
            .map(|(from, to)| Box::pin(self.pages(period.provider, attributes, from, to)));
        let mut pages = pages.flatten_unordered(SLICES_AT_ONCE);
        let mut read = 0;
        while let Some(page) = pages.try_next().await? {
            for item in page {
                take(from_item(item)?);
                read += 1;
            }
            if clock::now() >= until {
                return Ok(Reading::OutOfTime(read));
            }
        }
        Ok(Reading::Complete)
    }

    /// Streams the pages of one slice, one after the other.
    fn pages<'a>(
        &'a self,
        provider: &'a str,
        attributes: &'a [&'a str],
        from: BatchId,
        to: BatchId,
    ) -> impl Stream<Item = Result<Vec<Item>, RecordError>> + Send + 'a {
        stream::try_unfold(Some(None), move |start: Option<Option<Item>>| async move {
            let Some(start) = start else { return Ok(None) };
            let names = attributes.iter().map(|name| (format!("#{name}"), *name));
            let projection: Vec<_> = names.clone().map(|(alias, _)| alias).collect();
            let query = self
                .between(provider, from.day(), from, to)
                .set_exclusive_start_key(start);
            let query = names.fold(query, |query, (alias, name)| {
                query.expression_attribute_names(alias, name)
            });
            let query = query
                .set_projection_expression((!projection.is_empty()).then(|| projection.join(", ")));
            let answer = query
                .send()
                .await
                .map_err(unavailable("read the batches of a period"))?;
            Ok(Some((
                answer.items.unwrap_or_default(),
                answer.last_evaluated_key.map(Some),
            )))
        })
    }
}

/// Cuts the period at quarters of days. Each slice is its smallest and its largest id.
fn slices(from: Timestamp, to: Timestamp) -> Vec<(BatchId, BatchId)> {
    let (mut start, end) = (from.as_millisecond().max(0), to.as_millisecond());
    let mut slices = Vec::new();
    while start < end {
        let next = end.min((start.div_euclid(SLICE_MS) + 1) * SLICE_MS);
        if let (Ok(first), Ok(last)) = (
            Timestamp::from_millisecond(start),
            Timestamp::from_millisecond(next - 1),
        ) {
            slices.push(bounds(first, last));
        }
        start = next;
    }
    slices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_moment_of_the_period_is_in_one_slice_and_no_slice_in_two_days(
            from_ms in 1_795_000_000_000_i64..1_796_000_000_000,
            length_ms in 0_i64..1_000_000_000,
            moment in 0.0..1.0,
            chance: [u8; 10],
        ) {
            let at = |ms| Timestamp::from_millisecond(ms).unwrap();
            let slices = slices(at(from_ms), at(from_ms + length_ms));
            let is_of_one_day = |(first, last): &(BatchId, BatchId)| {
                first.day() == last.day() && first < last
            };
            prop_assert!(slices.iter().all(is_of_one_day));
            let held = |id: BatchId| {
                let holding = slices.iter().filter(|(first, last)| (*first..=*last).contains(&id));
                holding.count()
            };
            let inside = from_ms + (length_ms as f64 * moment) as i64;
            prop_assert_eq!(held(BatchId::new(at(inside), chance)), usize::from(length_ms > 0));
            for outside in [from_ms - 1, from_ms + length_ms] {
                prop_assert_eq!(held(BatchId::new(at(outside), chance)), 0);
            }
        }
    }
}
