//! Two request counts with which the demo and the tests compare ours, because FastSMSing bills
//! requests.
//!
//! The optimum is the lowest count that any plan could have reached, even one that knew every
//! arrival in advance. The plain window is the count of a function that simply sends each batch
//! that an SQS event source with a batch window hands it. Both are computed from the arrival times
//! alone, which are in milliseconds and in any order.

/// Lambda starts with this many pollers for a queue, and adds none at our rates.
pub const POLLERS: usize = 5;

/// Decides which poller gets each message. It is fixed, so that equal arrivals give equal numbers.
const SEED: u64 = 0;

/// The fewest requests in which no message waits longer than the window and no request holds more
/// than `size`.
///
/// It is greedy from the oldest message: each request takes the oldest message that is left and, in
/// order of arrival, all that come while that one may wait, up to `size`. No plan needs fewer
/// requests:
///
/// - The messages of any two requests can be exchanged so that one has the earliest of both, and
///   each keeps its size. Neither then spans more than the window. So some best plan cuts the
///   ordered arrivals into runs.
/// - The longest possible first run leaves the shortest rest, and a shorter rest never needs more
///   requests, because every plan for the longer rest serves it too.
pub fn optimum_requests(arrivals_ms: &[u64], size: usize, window_ms: u64) -> usize {
    let mut arrivals_ms = arrivals_ms.to_vec();
    arrivals_ms.sort_unstable();
    requests_in_order(&arrivals_ms, size, window_ms)
}

/// How many requests a plain batch window makes, where each poller fills a window of its own.
///
/// Each message goes to a random poller. A poller that holds nothing opens a window with the
/// message it gets. When the window has passed or `size` is reached, it hands over what it has
/// gathered, as one request. The real number would be higher: empty receives, redeliveries and
/// payload limits are left out.
pub fn plain_window_requests(
    arrivals_ms: &[u64],
    pollers: usize,
    size: usize,
    window_ms: u64,
) -> usize {
    let mut arrivals_ms = arrivals_ms.to_vec();
    arrivals_ms.sort_unstable();
    let mut chance = fastrand::Rng::with_seed(SEED);
    let mut gathered = vec![Vec::new(); pollers];
    for at_ms in arrivals_ms {
        gathered[chance.usize(..pollers)].push(at_ms);
    }
    gathered
        .iter()
        .map(|arrivals_ms| requests_in_order(arrivals_ms, size, window_ms))
        .sum()
}

/// Opens a request with the first message and fills it until its window has passed or it is full.
fn requests_in_order(mut arrivals_ms: &[u64], size: usize, window_ms: u64) -> usize {
    assert!(size > 0, "a request holds at least one message");
    let mut requests = 0;
    while let Some(&opened_ms) = arrivals_ms.first() {
        let in_window = arrivals_ms.partition_point(|&at_ms| at_ms - opened_ms <= window_ms);
        arrivals_ms = &arrivals_ms[in_window.min(size)..];
        requests += 1;
    }
    requests
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW_MS: u64 = 20_000;
    const SIZE: usize = 100;

    /// The fewest groups of all possible groupings: each message joins a group or begins one.
    fn brute_force(
        arrivals_ms: &[u64],
        size: usize,
        window_ms: u64,
        groups: &mut Vec<Vec<u64>>,
    ) -> usize {
        let Some((&at_ms, rest)) = arrivals_ms.split_first() else {
            return groups.len();
        };
        groups.push(vec![at_ms]);
        let mut fewest = brute_force(rest, size, window_ms, groups);
        groups.pop();
        for index in 0..groups.len() {
            let near = groups[index]
                .iter()
                .all(|other_ms| other_ms.abs_diff(at_ms) <= window_ms);
            if near && groups[index].len() < size {
                groups[index].push(at_ms);
                fewest = fewest.min(brute_force(rest, size, window_ms, groups));
                groups[index].pop();
            }
        }
        fewest
    }

    proptest! {
        #[test]
        fn greedy_is_optimal(
            arrivals_ms in prop::collection::vec(0_u64..30, 0..8),
            size in 1_usize..5,
            window_ms in 0_u64..20,
        ) {
            let best = brute_force(&arrivals_ms, size, window_ms, &mut Vec::new());
            prop_assert_eq!(optimum_requests(&arrivals_ms, size, window_ms), best);
        }

        #[test]
        fn a_plain_window_is_never_better_and_with_one_poller_as_good(
            arrivals_ms in prop::collection::vec(0_u64..1000, 0..200),
            size in 1_usize..20,
            window_ms in 0_u64..200,
        ) {
            let optimum = optimum_requests(&arrivals_ms, size, window_ms);
            prop_assert!(plain_window_requests(&arrivals_ms, POLLERS, size, window_ms) >= optimum);
            prop_assert_eq!(plain_window_requests(&arrivals_ms, 1, size, window_ms), optimum);
        }
    }

    #[test]
    fn the_window_and_the_size_are_both_kept_to_the_last_one() {
        assert_eq!(optimum_requests(&[0, 5, 10], 3, 10), 1);
        assert_eq!(optimum_requests(&[0, 5, 11], 3, 10), 2);
        assert_eq!(optimum_requests(&[0, 5, 10], 2, 10), 2);
        assert_eq!(optimum_requests(&[], 3, 10), 0);
    }

    /// One message a second for three hours, once evenly spaced and once at random.
    fn streams() -> [Vec<u64>; 2] {
        let mut chance = fastrand::Rng::with_seed(7);
        let mut now_ms = 0.0;
        let by_chance = (0..10_800).map(|_| {
            now_ms -= 1000.0 * (1.0 - chance.f64()).ln();
            now_ms as u64
        });
        [
            (0..10_800).map(|second| second * 1000).collect(),
            by_chance.collect(),
        ]
    }

    #[test]
    fn at_one_message_a_second_21_fit_a_request_and_a_plain_window_fits_5() {
        for arrivals_ms in streams() {
            let per_request = |requests: usize| arrivals_ms.len() as f64 / requests as f64;
            let optimum = per_request(optimum_requests(&arrivals_ms, SIZE, WINDOW_MS));
            let plain = per_request(plain_window_requests(
                &arrivals_ms,
                POLLERS,
                SIZE,
                WINDOW_MS,
            ));
            assert!((20.5..21.5).contains(&optimum), "{optimum}");
            assert!((4.8..5.2).contains(&plain), "{plain}");
            assert!(
                (4.0..4.5).contains(&(optimum / plain)),
                "{}",
                optimum / plain
            );
        }
    }
}
