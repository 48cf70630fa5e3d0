//! The rule by which messages become batches, in simulated time: its requests are compared with the
//! offline optimum and with a plain batch window.
//!
//! The simulation has two send processes that each count their messages, five pollers that gather
//! bells, and a dispatcher that asks [`BatchPolicy`] what to read and what to send. Nothing fails,
//! and nothing is slow.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use domain::batch_policy::BatchPolicy;
use domain::grouping::Grouping;
use domain::id::MessageId;
use domain::message::Message;
use domain::message_request::MessageRequest;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tests::baselines::{POLLERS, optimum_requests, plain_window_requests};
use tests::demo::{self, Pace};
use tests::scene::Settings;

use crate::support::scene;
use crate::tally::announce;

const SIZE: usize = 100;
const SENDERS: usize = 2;
const MESSAGES: usize = 3_000;
const SEEDS: u64 = 2;
const RATES_PER_S: [f64; 4] = [0.1, 1.0, 10.0, 100.0];
const WINDOWS_S: [u64; 3] = [5, 20, 60];
/// How long a poller gathers bells: the template's window, and up to half a second more.
const GATHER_MS: u64 = 1_000;
const GATHER_MORE_MS: u64 = 500;
const BEGINNING_MS: i64 = 1_795_262_400_000;

/// A bell on its way: when it rings, for which message, and whether it says that a batch is full.
type Bell = Reverse<(u64, usize, bool)>;

fn moment(ms: u64) -> Timestamp {
    Timestamp::from_millisecond(BEGINNING_MS + ms as i64).unwrap()
}

fn arrivals_ms(rate_per_s: f64, chance: &mut Rng) -> Vec<u64> {
    let mut at_ms = 0.0;
    let next = || {
        at_ms -= (1.0 - chance.f64()).ln() * 1_000.0 / rate_per_s;
        at_ms as u64
    };
    std::iter::repeat_with(next).take(MESSAGES).collect()
}

fn message_at(ms: u64, n: usize) -> Message {
    let wanted =
        json!({"recipient": 31_600_000_000_u64 + n as u64, "originator": "MB", "message": "x"});
    let mut tail = [0; 10];
    tail[..8].copy_from_slice(&(n as u64).to_be_bytes());
    let id = MessageId::new(moment(ms), tail);
    Message::accepted(
        id,
        "shop",
        MessageRequest::parse(&wanted, moment(ms)).unwrap(),
        moment(ms),
    )
}

/// How many requests the rule makes of these arrivals.
fn requests(arrivals_ms: &[u64], window_s: u64, chance: &mut Rng) -> usize {
    let mut simulation = Simulation::new(arrivals_ms, window_s);
    simulation.accept_all(window_s, chance);
    simulation.run(chance)
}

struct Simulation<'a> {
    policy: BatchPolicy,
    arrivals_ms: &'a [u64],
    messages: Vec<Message>,
    waiting: BTreeSet<usize>,
    bells: BinaryHeap<Bell>,
    /// The bells that each poller has gathered, and when it hands them over.
    gathered: Vec<(u64, Vec<(usize, bool)>)>,
}

impl<'a> Simulation<'a> {
    fn new(arrivals_ms: &'a [u64], window_s: u64) -> Self {
        let arrivals = arrivals_ms.iter().enumerate();
        let messages: Vec<_> = arrivals.map(|(n, ms)| message_at(*ms, n)).collect();
        Self {
            policy: BatchPolicy {
                size: SIZE,
                window: SignedDuration::from_secs(window_s as i64),
            },
            arrivals_ms,
            waiting: (0..messages.len()).collect(),
            messages,
            bells: BinaryHeap::new(),
            gathered: vec![(u64::MAX, Vec::new()); POLLERS],
        }
    }

    /// Sends the bells of all messages: a process sends one without delay for each full batch that
    /// it has counted.
    fn accept_all(&mut self, window_s: u64, chance: &mut Rng) {
        let mut counted = [0; SENDERS];
        for (n, ms) in self.arrivals_ms.iter().enumerate() {
            let sender = chance.usize(..SENDERS);
            counted[sender] += 1;
            let full = counted[sender] % SIZE == 0;
            let rings_ms = if full { *ms } else { ms + window_s * 1_000 };
            self.bells.push(Reverse((rings_ms, n, full)));
        }
    }

    /// Returns the number of requests, once no bell is left.
    fn run(&mut self, chance: &mut Rng) -> usize {
        let mut requests = 0;
        loop {
            let rings_ms = self.bells.peek().map_or(u64::MAX, |Reverse((ms, ..))| *ms);
            let (poller, hands_over_ms) = self
                .gathered
                .iter()
                .map(|(ms, _)| *ms)
                .enumerate()
                .min_by_key(|(_, ms)| *ms)
                .unwrap();
            if rings_ms == u64::MAX && hands_over_ms == u64::MAX {
                let forgotten = self.waiting.len();
                assert!(forgotten == 0, "{forgotten} messages were forgotten");
                return requests;
            }
            if rings_ms <= hands_over_ms {
                self.gather(chance);
            } else {
                requests += self.hand_over(poller);
            }
        }
    }

    /// One of the pollers receives the next bell.
    fn gather(&mut self, chance: &mut Rng) {
        let Reverse((ms, n, full)) = self.bells.pop().unwrap();
        let (hands_over_ms, held) = &mut self.gathered[chance.usize(..POLLERS)];
        if held.is_empty() {
            *hands_over_ms = ms + GATHER_MS + chance.u64(..=GATHER_MORE_MS);
        }
        held.push((n, full));
    }

    /// A poller invokes a dispatcher; the bells of messages that still wait come back later.
    /// Returns the number of requests.
    fn hand_over(&mut self, poller: usize) -> usize {
        let now_ms = std::mem::replace(&mut self.gathered[poller].0, u64::MAX);
        let event = std::mem::take(&mut self.gathered[poller].1);
        let requests = self.dispatch(&event, now_ms);
        for (n, _) in event {
            if self.waiting.contains(&n) {
                let retry_after = self
                    .policy
                    .wait(self.messages[n].id, moment(now_ms))
                    .max(SignedDuration::from_secs(1));
                let rings_ms = now_ms + retry_after.as_millis() as u64;
                self.bells.push(Reverse((rings_ms, n, false)));
            }
        }
        requests
    }

    /// One invocation sends all batches that may go; returns the number of requests.
    fn dispatch(&mut self, event: &[(usize, bool)], now_ms: u64) -> usize {
        let oldest = event
            .iter()
            .filter(|(n, _)| self.waiting.contains(n))
            .map(|(n, _)| self.messages[*n].id)
            .min();
        let full = event.iter().any(|(_, full)| *full);
        let Some(start) = self.policy.read_from(oldest, full, moment(now_ms)) else {
            return 0;
        };
        let first = self.arrivals_ms.partition_point(|ms| moment(*ms) < start);
        let arrived = self.arrivals_ms.partition_point(|ms| *ms <= now_ms);
        let mut requests = 0;
        loop {
            let read: Vec<_> = self
                .waiting
                .range(first..arrived.max(first))
                .copied()
                .take(SIZE)
                .collect();
            let found: Vec<_> = read.iter().map(|&n| self.messages[n].clone()).collect();
            let picked = self
                .policy
                .pick_batch(&found, SIZE, Grouping::Any, moment(now_ms));
            if picked.is_empty() {
                return requests;
            }
            requests += 1;
            for n in picked {
                self.waiting.remove(&read[n]);
            }
        }
    }
}

#[test]
fn the_rule_makes_at_most_2_percent_more_requests_than_the_offline_optimum() {
    let mut table = "planner, requests for messages in batches of 100:  \
                     optimum | ours, ratio | plain window, ratio"
        .to_owned();
    let mut ratios = Vec::new();
    for rate_per_s in RATES_PER_S {
        for window_s in WINDOWS_S {
            let (mut best, mut ours, mut plain) = (0, 0, 0);
            for seed in 0..SEEDS {
                let mut chance = Rng::with_seed(seed);
                let arrivals_ms = arrivals_ms(rate_per_s, &mut chance);
                best += optimum_requests(&arrivals_ms, SIZE, window_s * 1_000);
                ours += requests(&arrivals_ms, window_s, &mut chance);
                plain += plain_window_requests(&arrivals_ms, POLLERS, SIZE, window_s * 1_000);
            }
            let (ratio, plain_ratio) = (ours as f64 / best as f64, plain as f64 / ours as f64);
            table += &format!(
                "\n  {rate_per_s:>5} /s, window {window_s:>2} s: {best:>5} | {ours:>5}, {ratio:.3} \
                 | {plain:>5}, {plain_ratio:.2}"
            );
            ratios.push((rate_per_s, window_s, ratio, plain_ratio));
        }
    }
    announce(&table);
    for (rate_per_s, window_s, ratio, plain_ratio) in ratios {
        assert!(
            ratio <= 1.02,
            "{rate_per_s}/s, {window_s} s: {ratio} times the optimum"
        );
        assert!(
            (rate_per_s, window_s) != (1.0, 20) || plain_ratio >= 4.0,
            "the plain window makes {plain_ratio} times our requests"
        );
    }
}

/// The cell of 10 messages a second and a window of 5 s, on the local stack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes of real time"]
async fn the_local_stack_reproduces_a_cell_of_the_table() {
    let scene = scene(Settings {
        window_s: 5,
        ..Settings::default()
    })
    .await;
    let report = demo::run(
        &scene,
        Pace {
            messages: 1_000,
            rate_per_s: 10.0,
            seed: 0,
        },
    )
    .await
    .unwrap();
    // The same arrivals in simulated time.
    let arrivals_ms = demo::arrivals_ms(&scene.accepted_ids());
    let arrivals_ms: Vec<_> = arrivals_ms.iter().map(|ms| ms - arrivals_ms[0]).collect();
    let simulated = requests(&arrivals_ms, 5, &mut Rng::with_seed(0));
    let real = report.provider_requests;
    announce(&format!(
        "planner on the local stack, 10/s, 5 s: optimum {}, simulated {simulated}, real {real}, \
         plain window {}",
        report.optimum_requests, report.plain_window_requests
    ));
    assert!(
        real.abs_diff(simulated) as f64 <= 0.15 * simulated as f64,
        "{real} requests, simulated {simulated}"
    );
    scene.finish().await.unwrap();
}
