//! Which provider carries the next batch: the one furthest below its share.
//!
//! `assigned` counts the batches for which a provider was given a slot. Shares are compared as
//! fractions of the weights, so no rounding favours anyone. A provider that is far behind, because
//! it was away, is new or has another weight now, starts near the others: catching up would flood
//! it.

use std::cmp::Ordering;

/// Rounds of all weights that a provider may lag before it is levelled: chance alone makes it no
/// more than one.
const LAG_MAX: u64 = 2;

/// One provider's part in the share: batches so far, and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub assigned: u64,
    pub weight: u32,
}

/// The providers in the order in which the next batch is offered: the one furthest below its share
/// first.
pub fn order(shares: &[Share]) -> Vec<usize> {
    let mut order: Vec<_> = (0..shares.len()).collect();
    // Stable: among equals, the one configured first. Compared crosswise, as fractions are, without
    // rounding.
    order.sort_by_key(|&n| Fraction {
        top: shares[n].assigned,
        bottom: shares[n].weight,
    });
    order
}

/// The shares that the next choice compares: a provider that is far behind counts as one round
/// behind the furthest.
pub fn levelled(shares: &[Share]) -> Vec<Share> {
    let furthest = shares
        .iter()
        .map(|one| Fraction {
            top: one.assigned,
            bottom: one.weight,
        })
        .max();
    let Some(furthest) = furthest else {
        return Vec::new();
    };
    let level = |&Share { assigned, weight }: &Share| {
        let level =
            u128::from(furthest.top) * u128::from(weight) / u128::from(furthest.bottom.max(1));
        let level = u64::try_from(level).unwrap_or(u64::MAX);
        let is_far_behind = assigned + LAG_MAX * u64::from(weight) < level;
        Share {
            assigned: if is_far_behind {
                level - u64::from(weight)
            } else {
                assigned
            },
            weight,
        }
    };
    shares.iter().map(level).collect()
}

struct Fraction {
    top: u64,
    bottom: u32,
}

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        let cross = |a: &Self, b: &Self| u128::from(a.top) * u128::from(b.bottom);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fraction {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fraction {}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the weights, no provider is ever more than one batch away from its share.
        #[test]
        fn shares_differ_by_at_most_one_batch(weights in vec(1_u32..8, 1..5), batches in 1_usize..300) {
            let mut shares: Vec<_> = weights.iter().map(|&weight| Share { assigned: 0, weight }).collect();
            for _ in 0..batches {
                let next = order(&shares)[0];
                shares[next].assigned += 1;
            }
            for (a, b) in shares.iter().flat_map(|a| shares.iter().map(move |b| (a, b))) {
                // One batch more than the other's share would allow, and no further.
                let (ahead, after) = ((a.assigned as f64 - 1.0) / f64::from(a.weight), b.assigned as f64 / f64::from(b.weight));
                prop_assert!(ahead <= after + 1e-9, "{shares:?}");
            }
        }

        /// However far behind a provider is, it is next, and gets no more than a round or two in a
        /// row.
        #[test]
        fn one_that_comes_back_is_not_flooded(assigned in vec(0_u64..100_000, 2..5), weights in vec(1_u32..8, 5)) {
            let mut shares: Vec<_> =
                assigned.iter().zip(weights).map(|(&assigned, weight)| Share { assigned, weight }).collect();
            let mut given = vec![0_u64; shares.len()];
            for _ in 0..100 {
                shares = levelled(&shares);
                let next = order(&shares)[0];
                shares[next].assigned += 1;
                given[next] += 1;
            }
            let per_weight = |n: usize| given[n] as f64 / f64::from(shares[n].weight);
            for (a, b) in (0..shares.len()).flat_map(|a| (0..shares.len()).map(move |b| (a, b))) {
                prop_assert!((per_weight(a) - per_weight(b)).abs() <= LAG_MAX as f64 + 1.0, "{given:?} {shares:?}");
            }
        }
    }
}
