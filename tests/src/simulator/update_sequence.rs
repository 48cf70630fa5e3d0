//! Decides which updates a batch gets, and in which order. It is pure: randomness is an argument.
//!
//! Every message is CONFIRMED and then DELIVERED, FAILED or INVALID. A webhook may rely neither on
//! the order nor on the number of updates, so the options can repeat, shuffle and reverse them and
//! add ids that were never sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::protocol::BatchMessage;

/// The status that an update gives a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Confirmed,
    Delivered,
    Failed,
    /// It failed because the number does not exist.
    Invalid,
}

/// The statuses of updates about unknown ids.
const STATUSES: [Status; 3] = [Status::Confirmed, Status::Delivered, Status::Failed];

/// Which updates a provider sends.
#[derive(Clone, Debug)]
pub struct UpdateOptions {
    /// Whether updates follow an accepted batch. If not, only the test sends any.
    pub automatic: bool,
    /// The pause before each post.
    pub delay_ms: u64,
    /// Messages whose recipients end in this become FAILED.
    pub failing_suffix: Option<String>,
    /// Messages whose recipients end in this become INVALID.
    pub invalid_suffix: Option<String>,
    /// The share of all other messages that become FAILED, from 0 to 1.
    pub failing_share: f64,
    /// How often each update is sent.
    pub repeats: usize,
    /// Whether the updates of each message come in a random order.
    pub shuffled: bool,
    /// Whether the updates come in the reverse order.
    pub reversed: bool,
    /// How many ids that were never sent are added to each post.
    pub unknown: usize,
    /// How often a post is tried before it is given up. Ten attempts take about five seconds.
    pub attempts_max: u32,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        Self {
            automatic: true,
            delay_ms: 0,
            failing_suffix: None,
            invalid_suffix: None,
            failing_share: 0.0,
            repeats: 1,
            shuffled: false,
            reversed: false,
            unknown: 0,
            attempts_max: 10,
        }
    }
}

/// The updates of one post, by the names of the messages. Several updates of one message need
/// several posts.
pub type Statuses = BTreeMap<String, Status>;

/// All updates about a batch, in the order in which they are sent.
pub(super) fn update_sequence(
    messages: &[BatchMessage],
    options: &UpdateOptions,
    chance: &mut fastrand::Rng,
) -> Vec<Statuses> {
    let mut posts = vec![Statuses::new(); 2 * options.repeats];
    for message in messages {
        let last = final_status(message, options, chance);
        let mut updates = [
            vec![Status::Confirmed; options.repeats],
            vec![last; options.repeats],
        ]
        .concat();
        if options.shuffled {
            chance.shuffle(&mut updates);
        }
        if options.reversed {
            updates.reverse();
        }
        for (post, update) in posts.iter_mut().zip(updates) {
            post.insert(message.name.clone(), update);
        }
    }
    for post in &mut posts {
        for _ in 0..options.unknown {
            post.insert(
                Uuid::now_v7().to_string(),
                STATUSES[chance.usize(..STATUSES.len())],
            );
        }
    }
    posts
}

fn final_status(
    message: &BatchMessage,
    options: &UpdateOptions,
    chance: &mut fastrand::Rng,
) -> Status {
    let ends_in = |suffix: &Option<String>| {
        suffix
            .as_ref()
            .is_some_and(|suffix| message.number.ends_with(suffix))
    };
    if ends_in(&options.invalid_suffix) {
        Status::Invalid
    } else if ends_in(&options.failing_suffix) || chance.f64() < options.failing_share {
        Status::Failed
    } else {
        Status::Delivered
    }
}

#[cfg(test)]
mod tests {
    use super::Status::{Confirmed, Delivered, Failed};
    use super::*;

    fn messages(count: usize) -> Vec<BatchMessage> {
        (0..count)
            .map(|n| BatchMessage {
                name: format!("m{n}"),
                number: format!("+3163345{n:04}"),
            })
            .collect()
    }

    fn updates_of(id: &str, posts: &[Statuses]) -> Vec<Status> {
        posts.iter().map(|post| post[id]).collect()
    }

    #[test]
    fn a_message_is_confirmed_and_then_delivered() {
        let posts = update_sequence(
            &messages(3),
            &UpdateOptions::default(),
            &mut fastrand::Rng::with_seed(7),
        );
        for id in ["m0", "m1", "m2"] {
            assert_eq!(updates_of(id, &posts), [Confirmed, Delivered]);
        }
    }

    #[test]
    fn the_failing_suffix_fails_and_of_the_others_their_share() {
        let options = UpdateOptions {
            failing_suffix: Some("0".into()),
            failing_share: 0.5,
            ..UpdateOptions::default()
        };
        let posts = update_sequence(&messages(1000), &options, &mut fastrand::Rng::with_seed(7));
        let failed = |id: &str| posts[1][id] == Failed;
        assert!((0..1000).step_by(10).all(|n| failed(&format!("m{n}"))));
        let others = (0..1000)
            .filter(|n| n % 10 != 0 && failed(&format!("m{n}")))
            .count();
        assert!((400..=500).contains(&others), "{others} of 900");
    }

    #[test]
    fn reversed_the_end_comes_first() {
        let options = UpdateOptions {
            reversed: true,
            repeats: 2,
            ..UpdateOptions::default()
        };
        let posts = update_sequence(&messages(1), &options, &mut fastrand::Rng::with_seed(7));
        assert_eq!(
            updates_of("m0", &posts),
            [Delivered, Delivered, Confirmed, Confirmed]
        );
    }

    #[test]
    fn shuffling_loses_no_update_and_unknown_ids_come_on_top() {
        let options = UpdateOptions {
            shuffled: true,
            repeats: 3,
            unknown: 2,
            ..UpdateOptions::default()
        };
        let posts = update_sequence(&messages(50), &options, &mut fastrand::Rng::with_seed(7));
        assert!(posts.iter().all(|post| post.len() == 50 + 2));
        let orders: std::collections::BTreeSet<_> = (0..50)
            .map(|n| {
                let mut updates = updates_of(&format!("m{n}"), &posts);
                let order = updates.clone();
                updates.sort();
                assert_eq!(
                    updates,
                    [
                        Confirmed, Confirmed, Confirmed, Delivered, Delivered, Delivered
                    ]
                );
                order
            })
            .collect();
        assert!(orders.len() > 10, "only {} orders", orders.len());
    }
}
