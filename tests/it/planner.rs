//! The rule that makes batches, in simulated time: what it costs beside the offline optimum and a plain batch window.
//!
//! Played are two send processes that count for themselves, five pollers that gather bells, and a consumer that asks
//! [`Plan`] what to read and what to send, as the dispatcher does. Nothing fails and nobody is slow here.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use shared::batch::Plan;
use shared::id::MessageId;
use shared::message::{Message, Request};
use shared::shape::Shape;
use tests::demo::{self, Pace};
use tests::economy::{POLLERS, optimum_requests, plain_window_requests};
use tests::scene::Settings;

use crate::support::scene;
use crate::tally::announce;

const SIZE: usize = 100;
const SENDERS: usize = 2;
const MESSAGES: usize = 3_000;
const SEEDS: u64 = 2;
const RATES_PER_S: [f64; 4] = [0.1, 1.0, 10.0, 100.0];
const WINDOWS_S: [u64; 3] = [5, 20, 60];
/// A poller hands over what it gathered after so long: the template's window, and up to half a second more.
const GATHER_MS: u64 = 1_000;
const GATHER_MORE_MS: u64 = 500;
const BEGINNING_MS: i64 = 1_795_262_400_000;

/// A bell on its way: when it rings, for which message, and whether it tells of a full batch.
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
    let wanted = json!({"recipient": 31_600_000_000_u64 + n as u64, "originator": "MB", "message": "x"});
    let mut tail = [0; 10];
    tail[..8].copy_from_slice(&(n as u64).to_be_bytes());
    let id = MessageId::new(moment(ms), tail);
    Message::accepted(id, "shop", Request::parse(&wanted, moment(ms)).unwrap(), moment(ms))
}

/// How many requests the rule makes of these arrivals.
fn requests(arrivals_ms: &[u64], window_s: u64, chance: &mut Rng) -> usize {
    let plan = Plan { size: SIZE, window: SignedDuration::from_secs(window_s as i64) };
    let messages: Vec<_> = arrivals_ms.iter().enumerate().map(|(n, ms)| message_at(*ms, n)).collect();
    let mut bells: BinaryHeap<Bell> = BinaryHeap::new();
    let mut counted = [0; SENDERS];
    for (n, ms) in arrivals_ms.iter().enumerate() {
        let sender = chance.usize(..SENDERS);
        counted[sender] += 1;
        let full = counted[sender] % SIZE == 0;
        bells.push(Reverse((if full { *ms } else { ms + window_s * 1_000 }, n, full)));
    }
    // What each poller gathers, and when it hands that over.
    let mut gathered: Vec<(u64, Vec<(usize, bool)>)> = vec![(u64::MAX, Vec::new()); POLLERS];
    let (mut waiting, mut requests) = ((0..messages.len()).collect::<BTreeSet<_>>(), 0);
    loop {
        let rings_ms = bells.peek().map_or(u64::MAX, |Reverse((ms, ..))| *ms);
        let (poller, hands_over_ms) = gathered.iter().map(|(ms, _)| *ms).enumerate().min_by_key(|(_, ms)| *ms).unwrap();
        if rings_ms == u64::MAX && hands_over_ms == u64::MAX {
            assert!(waiting.is_empty(), "{} messages were forgotten", waiting.len());
            return requests;
        }
        if rings_ms <= hands_over_ms {
            let Reverse((ms, n, full)) = bells.pop().unwrap();
            let (hands_over_ms, held) = &mut gathered[chance.usize(..POLLERS)];
            if held.is_empty() {
                *hands_over_ms = ms + GATHER_MS + chance.u64(..=GATHER_MORE_MS);
            }
            held.push((n, full));
            continue;
        }
        gathered[poller].0 = u64::MAX;
        let event = std::mem::take(&mut gathered[poller].1);
        requests += consume(&plan, &messages, arrivals_ms, &event, &mut waiting, hands_over_ms);
        for (n, _) in event.into_iter().filter(|(n, _)| waiting.contains(n)) {
            let quiet = plan.wait(messages[n].id, moment(hands_over_ms)).max(SignedDuration::from_secs(1));
            bells.push(Reverse((hands_over_ms + quiet.as_millis() as u64, n, false)));
        }
    }
}

/// One invocation: sends what may go; the number of requests.
fn consume(
    plan: &Plan,
    messages: &[Message],
    arrivals_ms: &[u64],
    event: &[(usize, bool)],
    waiting: &mut BTreeSet<usize>,
    now_ms: u64,
) -> usize {
    let rung = event.iter().filter(|(n, _)| waiting.contains(n)).map(|(n, _)| messages[*n].id).min();
    let full = event.iter().any(|(_, full)| *full);
    let Some(start) = plan.start(rung, full, moment(now_ms)) else { return 0 };
    let first = arrivals_ms.partition_point(|ms| moment(*ms) < start);
    let arrived = arrivals_ms.partition_point(|ms| *ms <= now_ms);
    let mut requests = 0;
    loop {
        let read: Vec<_> = waiting.range(first..arrived.max(first)).copied().take(SIZE).collect();
        let found: Vec<_> = read.iter().map(|&n| messages[n].clone()).collect();
        let load = plan.load(&found, SIZE, Shape::Any, moment(now_ms));
        if load.is_empty() {
            return requests;
        }
        requests += 1;
        for n in load {
            waiting.remove(&read[n]);
        }
    }
}

#[test]
fn the_plan_costs_no_more_than_the_offline_optimum_in_all_twelve_cells() {
    let mut table =
        "planner, requests for messages in batches of 100:  optimum | ours, ratio | plain window, ratio".to_owned();
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
                "\n  {rate_per_s:>5} /s, window {window_s:>2} s: {best:>5} | {ours:>5}, {ratio:.3} | {plain:>5}, {plain_ratio:.2}"
            );
            ratios.push((rate_per_s, window_s, ratio, plain_ratio));
        }
    }
    announce(&table);
    for (rate_per_s, window_s, ratio, plain_ratio) in ratios {
        assert!(ratio <= 1.02, "{rate_per_s}/s, {window_s} s: {ratio} times the optimum");
        assert!(
            (rate_per_s, window_s) != (1.0, 20) || plain_ratio >= 4.0,
            "the plain window takes {plain_ratio} times ours"
        );
    }
}

/// One cell of the table on the real stack: 10 messages a second, a window of 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes of real time"]
async fn the_real_stack_reproduces_a_cell() {
    let scene = scene(Settings { window_s: 5, ..Settings::default() }).await;
    let report = demo::run(&scene, Pace { messages: 1_000, rate_per_s: 10.0, seed: 0 }).await.unwrap();
    // What the same arrivals cost in simulated time.
    let arrivals_ms = demo::arrivals_ms(&scene.told());
    let arrivals_ms: Vec<_> = arrivals_ms.iter().map(|ms| ms - arrivals_ms[0]).collect();
    let simulated = requests(&arrivals_ms, 5, &mut Rng::with_seed(0));
    let real = report.provider_requests;
    announce(&format!(
        "planner on the real stack, 10/s, 5 s: optimum {}, simulated {simulated}, real {real}, plain window {}",
        report.optimum_requests, report.plain_window_requests
    ));
    assert!(real.abs_diff(simulated) as f64 <= 0.15 * simulated as f64, "{real} requests, simulated {simulated}");
    scene.finish().await.unwrap();
}
