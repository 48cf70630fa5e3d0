//! Reading all batches of a period, in no order and without keeping any: what figures and reconciliations are made of.
//!
//! The period is cut into slices that are read side by side, a page of each at a time. A reading that runs out of
//! time says so: figures of a part would look like figures of the whole.

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::batches::Batches;
use super::range::bounds;
use super::{Item, RecordError, from_item, unavailable};
use crate::clock;
use crate::id::BatchId;

/// A quarter of a day, so that no slice reaches into two partitions.
const SLICE_MS: i64 = 6 * 60 * 60 * 1_000;
/// As many pages, of 1 MB at most, are in memory at a time.
const SLICES_AT_ONCE: usize = 4;

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reading {
    Complete,
    /// Not all was read in time; so many batches were.
    OutOfTime(usize),
}

/// Which batches, and what of them.
#[derive(Clone, Copy, Debug)]
pub struct Period<'a> {
    pub provider: &'a str,
    /// When they began, the second moment excluded.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Attributes; all if none is named.
    pub fields: &'a [&'a str],
}

impl Batches {
    /// Hands every batch of the period to `take`, unless it is `until` before that is done.
    pub async fn each<T: DeserializeOwned + Send>(
        &self,
        period: Period<'_>,
        until: Timestamp,
        mut take: impl FnMut(T),
    ) -> Result<Reading, RecordError> {
        let slices = slices(period.from, period.to);
        let pages = stream::iter(slices).map(|(from, to)| Box::pin(self.pages(period, from, to)));
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

    /// The pages of one slice, one after the other.
    fn pages<'a>(
        &'a self,
        period: Period<'a>,
        from: BatchId,
        to: BatchId,
    ) -> impl Stream<Item = Result<Vec<Item>, RecordError>> + Send + 'a {
        stream::try_unfold(Some(None), move |start: Option<Option<Item>>| async move {
            let Some(start) = start else { return Ok(None) };
            let names = period.fields.iter().map(|field| (format!("#{field}"), *field));
            let projection: Vec<_> = names.clone().map(|(alias, _)| alias).collect();
            let query = self.between(period.provider, from.day(), from, to).set_exclusive_start_key(start);
            let query = names.fold(query, |query, (alias, name)| query.expression_attribute_names(alias, name));
            let query = query.set_projection_expression((!projection.is_empty()).then(|| projection.join(", ")));
            let answer = query.send().await.map_err(unavailable("read the batches of a period"))?;
            Ok(Some((answer.items.unwrap_or_default(), answer.last_evaluated_key.map(Some))))
        })
    }
}

/// The period, cut where quarters of days end; each slice with the smallest and the largest id that it can hold.
fn slices(from: Timestamp, to: Timestamp) -> Vec<(BatchId, BatchId)> {
    let (mut start, end) = (from.as_millisecond().max(0), to.as_millisecond());
    let mut slices = Vec::new();
    while start < end {
        let next = end.min((start.div_euclid(SLICE_MS) + 1) * SLICE_MS);
        if let (Ok(first), Ok(last)) = (Timestamp::from_millisecond(start), Timestamp::from_millisecond(next - 1)) {
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
            prop_assert!(slices.iter().all(|(first, last)| first.day() == last.day() && first < last));
            let held = |id: BatchId| slices.iter().filter(|(first, last)| (*first..=*last).contains(&id)).count();
            let inside = from_ms + (length_ms as f64 * moment) as i64;
            prop_assert_eq!(held(BatchId::new(at(inside), chance)), usize::from(length_ms > 0));
            for outside in [from_ms - 1, from_ms + length_ms] {
                prop_assert_eq!(held(BatchId::new(at(outside), chance)), 0);
            }
        }
    }
}
