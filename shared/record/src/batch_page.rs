//! A page of a listing of batches, and how the pages of several providers become one. No I/O.

use std::cmp::Reverse;

use domain::batch::Batch;
use domain::id::BatchId;

/// A page of a listing, newest first.
#[derive(Debug)]
pub struct BatchPage {
    pub batches: Vec<Batch>,
    /// The next page begins after this id. `None` if the listing is complete.
    pub after: Option<BatchId>,
}

/// Merges one page per provider into a page of at most `limit`.
///
/// A page may have stopped early, so batches older than the place that every page has
/// reached are left to the next page.
pub(super) fn merge(pages: Vec<BatchPage>, limit: usize) -> BatchPage {
    let reached = pages.iter().filter_map(|page| page.after).max();
    let mut batches: Vec<_> = pages.into_iter().flat_map(|page| page.batches).collect();
    batches.retain(|batch| reached.is_none_or(|reached| batch.id >= reached));
    batches.sort_unstable_by_key(|batch| Reverse(batch.id));
    let more = batches.len() > limit;
    batches.truncate(limit);
    let after = if more {
        batches.last().map(|batch| batch.id)
    } else {
        reached
    };
    BatchPage { batches, after }
}

#[cfg(test)]
mod tests {
    use domain::batch::BatchState;
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

    /// What `list` returns for ids from `to` down if it stops early, after `looks` of them.
    fn page(ids: &[u8], to: BatchId, limit: usize, looks: usize) -> BatchPage {
        let below: Vec<_> = ids
            .iter()
            .rev()
            .filter(|n| id(**n) <= to)
            .copied()
            .collect();
        let taken = below.len().min(limit).min(looks);
        let batches: Vec<_> = below[..taken].iter().map(|n| batch(*n)).collect();
        let stopped = taken < below.len();
        BatchPage {
            after: stopped.then(|| batches.last().map_or(to, |batch| batch.id)),
            batches,
        }
    }

    proptest! {
        /// With pages that stop early too, every batch is listed once, newest first.
        #[test]
        fn merged_pages_lose_and_repeat_nothing(
            owners in btree_map(any::<u8>(), 0_usize..3, 0..60),
            limit in 1_usize..9,
            looks in vec(1_usize..9, 3),
        ) {
            let ids_of = |provider| {
                let own = owners.iter().filter(move |(_, owner)| **owner == provider);
                own.map(|(n, _)| *n)
            };
            let ids: Vec<Vec<_>> = (0..3).map(|provider| ids_of(provider).collect()).collect();
            let (mut to, mut listed) = (id(u8::MAX), Vec::new());
            loop {
                let pages = ids.iter().zip(&looks);
                let pages = pages.map(|(ids, looks)| page(ids, to, limit, *looks));
                let BatchPage { batches, after } = merge(pages.collect(), limit);
                prop_assert!(batches.len() <= limit);
                listed.extend(batches.into_iter().map(|batch| batch.id));
                let Some(after) = after else { break };
                to = after.before();
            }
            let expected: Vec<_> = owners.keys().rev().map(|n| id(*n)).collect();
            prop_assert_eq!(listed, expected);
        }
    }
}
