//! Which updates a batch gets, and in which order: pure, so that chance is an argument.
//!
//! Every message is CONFIRMED and then DELIVERED, FAILED or INVALID. A webhook may rely on neither the order
//! nor the number of these updates, so the options let a course repeat, shuffle and reverse them and
//! mix in ids that nobody knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::dialect::Subject;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Confirmed,
    Delivered,
    Failed,
    /// It failed, because nobody has that number.
    Invalid,
}

const STATUSES: [Status; 3] = [Status::Confirmed, Status::Delivered, Status::Failed];

#[derive(Clone, Debug)]
pub struct UpdateOptions {
    /// Off: nothing is reported but what the test reports.
    pub automatic: bool,
    /// The pause before each post.
    pub delay_ms: u64,
    /// Messages to recipients that end in this FAIL.
    pub failing_suffix: Option<String>,
    /// Messages to recipients that end in this are INVALID.
    pub invalid_suffix: Option<String>,
    /// The share, 0 to 1, of all other messages that FAIL.
    pub failing_share: f64,
    /// How often each update is told; 1 is once.
    pub repeats: usize,
    /// Each message's updates come in an order of its own, whatever that does to their sense.
    pub shuffled: bool,
    /// The last update comes first.
    pub reversed: bool,
    /// Ids that were never sent, added to each post.
    pub unknown: usize,
    /// How often a post is tried before it is given up: ten take about five seconds.
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

/// What is told at a time, by the messages' names. A map holds a message once, so its updates need several.
pub type Told = BTreeMap<String, Status>;

/// What is told about a batch, in the order in which it is.
pub(super) fn course(messages: &[Subject], options: &UpdateOptions, chance: &mut fastrand::Rng) -> Vec<Told> {
    let mut posts = vec![Told::new(); 2 * options.repeats];
    for message in messages {
        let fate = fate(message, options, chance);
        let mut updates = [vec![Status::Confirmed; options.repeats], vec![fate; options.repeats]].concat();
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
            post.insert(Uuid::now_v7().to_string(), STATUSES[chance.usize(..STATUSES.len())]);
        }
    }
    posts
}

fn fate(message: &Subject, options: &UpdateOptions, chance: &mut fastrand::Rng) -> Status {
    let is_doomed = |suffix: &Option<String>| suffix.as_ref().is_some_and(|suffix| message.number.ends_with(suffix));
    if is_doomed(&options.invalid_suffix) {
        Status::Invalid
    } else if is_doomed(&options.failing_suffix) || chance.f64() < options.failing_share {
        Status::Failed
    } else {
        Status::Delivered
    }
}

#[cfg(test)]
mod tests {
    use super::Status::{Confirmed, Delivered, Failed};
    use super::*;

    fn messages(count: usize) -> Vec<Subject> {
        (0..count).map(|n| Subject { name: format!("m{n}"), number: format!("+3163345{n:04}") }).collect()
    }

    fn updates_of(id: &str, posts: &[Told]) -> Vec<Status> {
        posts.iter().map(|post| post[id]).collect()
    }

    #[test]
    fn a_message_is_confirmed_and_then_delivered() {
        let posts = course(&messages(3), &UpdateOptions::default(), &mut fastrand::Rng::with_seed(7));
        for id in ["m0", "m1", "m2"] {
            assert_eq!(updates_of(id, &posts), [Confirmed, Delivered]);
        }
    }

    #[test]
    fn the_doomed_suffix_fails_and_of_the_others_their_share() {
        let options =
            UpdateOptions { failing_suffix: Some("0".into()), failing_share: 0.5, ..UpdateOptions::default() };
        let posts = course(&messages(1000), &options, &mut fastrand::Rng::with_seed(7));
        let failed = |id: &str| posts[1][id] == Failed;
        assert!((0..1000).step_by(10).all(|n| failed(&format!("m{n}"))));
        let others = (0..1000).filter(|n| n % 10 != 0 && failed(&format!("m{n}"))).count();
        assert!((400..=500).contains(&others), "{others} of 900");
    }

    #[test]
    fn reversed_the_end_comes_first() {
        let options = UpdateOptions { reversed: true, repeats: 2, ..UpdateOptions::default() };
        let posts = course(&messages(1), &options, &mut fastrand::Rng::with_seed(7));
        assert_eq!(updates_of("m0", &posts), [Delivered, Delivered, Confirmed, Confirmed]);
    }

    #[test]
    fn shuffling_loses_no_update_and_unknown_ids_come_on_top() {
        let options = UpdateOptions { shuffled: true, repeats: 3, unknown: 2, ..UpdateOptions::default() };
        let posts = course(&messages(50), &options, &mut fastrand::Rng::with_seed(7));
        assert!(posts.iter().all(|post| post.len() == 50 + 2));
        let orders: std::collections::BTreeSet<_> = (0..50)
            .map(|n| {
                let mut updates = updates_of(&format!("m{n}"), &posts);
                let order = updates.clone();
                updates.sort();
                assert_eq!(updates, [Confirmed, Confirmed, Confirmed, Delivered, Delivered, Delivered]);
                order
            })
            .collect();
        assert!(orders.len() > 10, "only {} orders", orders.len());
    }
}
