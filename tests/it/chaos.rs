//! Everything fails at once: wires break, processes are killed, clocks are wrong, the provider
//! fails, and the queue repeats and shuffles bells. Then all of it stops, and the three ledgers
//! have to agree.
//!
//! What fails is drawn from a seed. A failed test names its seed, and `CHAOS_SEED=<seed> cargo test
//! chaos` repeats the same draws, though not the same races.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tests::caller::{Caller, message};
use tests::crash::CrashPoints;
use tests::event_source::Redelivery;
use tests::fastsmsing::{self, Mishap, UpdateOptions};
use tests::scene::{Scene, Settings};
use tests::wire::{Fault, Wire, WireRequest};
use tokio::time::sleep;

use crate::support::sweep;
use crate::tally::{STAGES, Tally, announce};

const SEEDS: u64 = 10;
const SEEDS_LONG: u64 = 200;
/// Scenes that may be under way; how many of them play at a time is up to the stages.
const AT_ONCE: usize = 5;
const MESSAGES: usize = 50;
const CALLERS: usize = 4;
/// The storm lasts at least this long, and until every message is accepted.
const STORM_S: u64 = 8;
/// A clock is wrong by at most this much.
const SKEW_MAX_MS: i64 = 90_000;
/// After the storm, all clocks are this far ahead: past what the fastest clock showed, and past the
/// longest invocation on it.
const AFTERWARDS_MS: i64 = 200_000;
/// How many different clocks there are at a time.
const CLOCKS: usize = 4;
const KILLED: [&str; 4] = ["send", "dispatch", "status", "sweep"];

/// How often each kind of fault was played.
type Counts = Arc<Mutex<BTreeMap<&'static str, usize>>>;

#[derive(Default)]
struct Storm {
    faults: BTreeMap<&'static str, usize>,
    kills: usize,
    duplicated: usize,
    tally: Tally,
}

/// Plays one seed. With the odd seeds, the provider has idempotency keys.
async fn play(seed: u64) -> Result<Storm> {
    let _stage = STAGES.acquire().await?;
    let points = CrashPoints::new()?;
    let scene = Scene::start(settings(seed, &points)).await?;
    let faults = Counts::default();
    let mut kills = 0;
    // The scene is audited even if the storm fails.
    let stormed = storm(&scene, &points, seed, &faults, &mut kills).await;
    let duplicated = scene.stack.duplicated();
    let mut tally = Tally::of(scene).await;
    tally
        .problems
        .splice(..0, stormed.err().map(|error| format!("{error:#}")));
    let faults = faults.lock().unwrap().clone();
    Ok(Storm {
        faults,
        kills,
        duplicated,
        tally,
    })
}

/// Breaks things until every message is accepted, and then repairs all of them.
async fn storm(
    scene: &Scene,
    points: &CrashPoints,
    seed: u64,
    faults: &Counts,
    kills: &mut usize,
) -> Result<()> {
    let wires = [
        &scene.stack.dynamo_wire,
        &scene.stack.sqs_wire,
        scene.provider_wire.as_ref().context("no wire")?,
    ];
    for (n, (wire, refusal)) in wires
        .into_iter()
        .zip([throttled(), throttled(), (429, String::new())])
        .enumerate()
    {
        break_now_and_then(wire, refusal, seed * 8 + n as u64, faults);
    }
    let chance = Rng::with_seed(seed * 8 + 7);
    let callers = (0..CALLERS).map(|caller| post(scene.shop().clone(), caller, chance.clone()));
    let posted = async {
        tokio::join!(try_join_all(callers), sleep(Duration::from_secs(STORM_S)))
            .0
            .map(drop)
    };
    let stormed = tokio::select! {
        posted = posted => posted,
        failed = rage(scene, points, chance.clone(), kills) => failed,
    };
    wires.into_iter().for_each(Wire::clear_rule);
    scene.fastsmsing.behave();
    points.set_clocks(&[AFTERWARDS_MS], true)?;
    // Wrong clocks have delayed bells by minutes. These bells are dropped, and the sweep finds
    // their messages.
    scene.stack.sqs.purge("Doorbell").await?;
    stormed
}

fn settings(seed: u64, points: &CrashPoints) -> Settings {
    let updates = UpdateOptions {
        delay_ms: 50,
        failing_share: 0.1,
        repeats: 2,
        shuffled: true,
        unknown: 1,
        invalid_suffix: Some("9".to_owned()),
        attempts_max: 1_000,
        ..UpdateOptions::default()
    };
    let mishaps = [
        Mishap::ServerError,
        Mishap::TooMany { retry_after_s: 0 },
        Mishap::Busy { retry_after_s: 1 },
        Mishap::BadGateway,
        Mishap::RefuseBatch,
        Mishap::RefuseMessages {
            recipient_suffix: "7".into(),
        },
        Mishap::Latency { ms: 3_000 },
        Mishap::Reset,
        Mishap::ResetAfterAccepting,
        Mishap::CutBody,
        Mishap::Unreadable,
        Mishap::LateAccept { ms: 2_000 },
        Mishap::Latency { ms: 1_400 },
    ];
    Settings {
        batch_size: 10,
        timeout_ms: 1_500,
        visibility_timeout_s: Some(2),
        fastsmsing: fastsmsing::Options {
            key_lifetime_s: if seed % 2 == 1 { 3_600 } else { 0 },
            mix: mishaps.map(|mishap| (0.03, mishap)).to_vec(),
            updates,
            seed,
            ..Default::default()
        },
        redelivery: Some(Redelivery {
            deliveries: 1 + (seed % 3) as usize,
            seed,
        }),
        environment: points.environment(),
        provider_wire: true,
        ..Settings::default()
    }
}

fn throttled() -> (u16, String) {
    (
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#
            .to_owned(),
    )
}

/// About every fifth request on this wire meets a fault; `refusal` is a busy upstream's answer.
fn break_now_and_then(wire: &Wire, refusal: (u16, String), seed: u64, counts: &Counts) {
    let (chance, counts) = (Mutex::new(Rng::with_seed(seed)), Arc::clone(counts));
    wire.set_rule(move |_: &WireRequest| {
        let mut chance = chance.lock().unwrap();
        let (kind, fault) = match chance.u32(..100) {
            0..4 => ("request dropped", Fault::DropRequest),
            4..8 => ("answer dropped", Fault::DropAnswer),
            8..12 => ("delayed", Fault::DelayMs(chance.u64(10..4_000))),
            12..15 => ("500", Fault::Status(500, "{}".to_owned())),
            15..18 => ("throttled", Fault::Status(refusal.0, refusal.1.clone())),
            18..21 => ("answer cut", Fault::CutBody),
            _ => return Fault::Pass,
        };
        *counts.lock().unwrap().entry(kind).or_default() += 1;
        fault
    });
}

/// Posts one caller's share of the messages, each with an Idempotency-Key.
async fn post(caller: Caller, from: usize, mut chance: Rng) -> Result<()> {
    for n in (from..MESSAGES).step_by(CALLERS) {
        let key = format!("order-{n}");
        let mut message = message(n);
        message["reference"] = Value::from(key.as_str());
        caller.post_until_accepted(&message, Some(&key)).await?;
        sleep(Duration::from_millis(chance.u64(..200))).await;
    }
    Ok(())
}

/// Kills processes, sets clocks and sweeps, until it is dropped.
async fn rage(
    scene: &Scene,
    points: &CrashPoints,
    mut chance: Rng,
    kills: &mut usize,
) -> Result<()> {
    loop {
        match chance.u32(..4) {
            0 | 1 => {
                *kills += 1;
                scene
                    .stack
                    .kill_all(KILLED[chance.usize(..KILLED.len())])
                    .await;
            }
            2 => {
                let ahead_ms = [(); CLOCKS].map(|()| chance.i64(-SKEW_MAX_MS..=SKEW_MAX_MS));
                points.set_clocks(&ahead_ms, chance.bool())?;
            }
            // The sweep continues after this stops waiting for it.
            _ => {
                let _ = tokio::time::timeout(Duration::from_millis(100), sweep(scene)).await;
            }
        }
        sleep(Duration::from_millis(chance.u64(100..600))).await;
    }
}

async fn play_all(seeds: impl Iterator<Item = u64>) {
    let begun = Instant::now();
    let (mut count, mut sum) = (0, Storm::default());
    let plays =
        stream::iter(seeds).map(|seed| async move { (seed, tokio::spawn(play(seed)).await) });
    let mut plays = plays.buffer_unordered(AT_ONCE);
    while let Some((seed, played)) = plays.next().await {
        count += 1;
        let mut storm = match played.context("a seed panicked").and_then(|played| played) {
            Ok(storm) => storm,
            Err(error) => Storm {
                tally: Tally {
                    problems: vec![format!("{error:#}")],
                    ..Tally::default()
                },
                ..Storm::default()
            },
        };
        if !storm.tally.problems.is_empty() {
            storm.tally.problems.insert(
                0,
                format!("CHAOS_SEED={seed} cargo test chaos  # repeats it"),
            );
            announce(&storm.tally.problems[..storm.tally.problems.len().min(8)].join("\n"));
        }
        for (kind, times) in storm.faults {
            *sum.faults.entry(kind).or_default() += times;
        }
        sum.kills += storm.kills;
        sum.duplicated += storm.duplicated;
        sum.tally += storm.tally;
    }
    announce(&format!(
        "chaos: {count} seeds, {} messages, faults {:?}, {} kills, \
         {} deliveries duplicated; {}; {} s",
        sum.tally.messages,
        sum.faults,
        sum.kills,
        sum.duplicated,
        sum.tally.line(),
        begun.elapsed().as_secs()
    ));
    assert!(
        sum.tally.problems.is_empty(),
        "{}",
        sum.tally.problems.join("\n")
    );
}

/// The seed that the environment names, or else all of them.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one = std::env::var("CHAOS_SEED")
        .ok()
        .map(|seed| seed.parse::<u64>().unwrap());
    one.map_or(0..count, |seed| seed..seed + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledgers_agree_after_any_combination_of_faults() {
    play_all(seeds(SEEDS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes about half an hour"]
async fn the_ledgers_agree_after_any_combination_of_faults_of_many_seeds() {
    play_all(seeds(SEEDS_LONG)).await;
}
