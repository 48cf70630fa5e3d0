//! Everything at once: wires that break, processes that are killed, clocks that are wrong, a provider that fails,
//! and a queue that repeats and shuffles. Then all of it stops, and the three ledgers have to agree.
//!
//! What goes wrong is drawn from a seed. A failure names its seed, and `CHAOS_SEED=<seed> cargo test chaos` plays
//! it again: the same draws, though not the same races.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tests::caller::{Caller, message};
use tests::crash::Points;
use tests::event_source::Mischief;
use tests::fastsmsing::{self, Mishap, UpdateOptions};
use tests::scene::{Scene, Settings};
use tests::wire::{Fault, Seen, Wire};
use tokio::time::sleep;

use crate::tally::{STAGES, Tally, announce};

const SEEDS: u64 = 10;
const SEEDS_LONG: u64 = 200;
/// Scenes that may be under way, if they find a stage.
const AT_ONCE: usize = 5;
const MESSAGES: usize = 50;
const CALLERS: usize = 4;
/// The storm lasts at least so long, and until every message was taken.
const STORM_S: u64 = 8;
/// A clock is wrong by at most this much.
const SKEW_MAX_MS: i64 = 90_000;
/// When all clocks agree again they are so far ahead: it is as if everybody had waited for the fastest one, and
/// for the longest invocation on it.
const AFTERWARDS_MS: i64 = 200_000;
/// Clocks that differ at a time.
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

/// Seeds of both kinds in turn: the odd ones have a provider with a key.
async fn play(seed: u64) -> Result<Storm> {
    let _stage = STAGES.acquire().await?;
    let points = Points::new()?;
    let scene = Scene::start(settings(seed, &points)).await?;
    let faults = Counts::default();
    let mut kills = 0;
    // Whatever ends the storm, the scene is audited.
    let stormed = storm(&scene, &points, seed, &faults, &mut kills).await;
    let duplicated = scene.stack.duplicated();
    let mut tally = Tally::of(scene).await;
    tally.problems.splice(..0, stormed.err().map(|error| format!("{error:#}")));
    let faults = faults.lock().unwrap().clone();
    Ok(Storm { faults, kills, duplicated, tally })
}

/// Until every message was taken; then all is well again.
async fn storm(scene: &Scene, points: &Points, seed: u64, faults: &Counts, kills: &mut usize) -> Result<()> {
    let wires = [&scene.stack.dynamo_wire, &scene.stack.sqs_wire, scene.provider_wire.as_ref().context("no wire")?];
    for (n, (wire, refusal)) in wires.into_iter().zip([throttled(), throttled(), (429, String::new())]).enumerate() {
        break_now_and_then(wire, refusal, seed * 8 + n as u64, faults);
    }
    let chance = Rng::with_seed(seed * 8 + 7);
    let callers = (0..CALLERS).map(|caller| post(scene.shop().clone(), caller, chance.clone()));
    let posted = async { tokio::join!(try_join_all(callers), sleep(Duration::from_secs(STORM_S))).0.map(drop) };
    let stormed = tokio::select! {
        posted = posted => posted,
        failed = rage(scene, points, chance.clone(), kills) => failed,
    };
    wires.into_iter().for_each(Wire::clear_rule);
    scene.fastsmsing.behave();
    points.set_clocks(&[AFTERWARDS_MS], true)?;
    // Wrong clocks have hidden bells for minutes: these are lost, and the sweep finds what they rang for.
    scene.stack.sqs.purge("Doorbell").await?;
    stormed
}

fn settings(seed: u64, points: &Points) -> Settings {
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
        Mishap::RefuseMessages { recipient_suffix: "7".into() },
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
        mischief: Some(Mischief { deliveries: 1 + (seed % 3) as usize, seed }),
        environment: points.environment(),
        provider_wire: true,
        ..Settings::default()
    }
}

fn throttled() -> (u16, String) {
    (400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#.to_owned())
}

/// About every fifth request on this wire meets a fault; `refusal` is how the other end turns one away.
fn break_now_and_then(wire: &Wire, refusal: (u16, String), seed: u64, counts: &Counts) {
    let (chance, counts) = (Mutex::new(Rng::with_seed(seed)), Arc::clone(counts));
    wire.set_rule(move |_: &Seen| {
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

/// One caller's share of the messages, each under a key.
async fn post(caller: Caller, from: usize, mut chance: Rng) -> Result<()> {
    for n in (from..MESSAGES).step_by(CALLERS) {
        let key = format!("order-{n}");
        let mut message = message(n);
        message["reference"] = Value::from(key.as_str());
        caller.insist(&message, Some(&key)).await?;
        sleep(Duration::from_millis(chance.u64(..200))).await;
    }
    Ok(())
}

/// Kills processes, moves clocks and sweeps, until it is dropped.
async fn rage(scene: &Scene, points: &Points, mut chance: Rng, kills: &mut usize) -> Result<()> {
    loop {
        match chance.u32(..4) {
            0 | 1 => {
                *kills += 1;
                scene.stack.kill_all(KILLED[chance.usize(..KILLED.len())]).await;
            }
            2 => {
                let ahead_ms = [(); CLOCKS].map(|()| chance.i64(-SKEW_MAX_MS..=SKEW_MAX_MS));
                points.set_clocks(&ahead_ms, chance.bool())?;
            }
            // The sweep goes on when this stops waiting for it.
            _ => {
                let sweep = scene.stack.invoke("sweep", json!({"reach": "recent"}));
                let _ = tokio::time::timeout(Duration::from_millis(100), sweep).await;
            }
        }
        sleep(Duration::from_millis(chance.u64(100..600))).await;
    }
}

async fn play_all(seeds: impl Iterator<Item = u64>) {
    let begun = Instant::now();
    let (mut count, mut sum) = (0, Storm::default());
    let plays = stream::iter(seeds).map(|seed| async move { (seed, tokio::spawn(play(seed)).await) });
    let mut plays = plays.buffer_unordered(AT_ONCE);
    while let Some((seed, played)) = plays.next().await {
        count += 1;
        let mut storm = match played.context("a panic").and_then(|played| played) {
            Ok(storm) => storm,
            Err(error) => {
                Storm { tally: Tally { problems: vec![format!("{error:#}")], ..Tally::default() }, ..Storm::default() }
            }
        };
        if !storm.tally.problems.is_empty() {
            storm.tally.problems.insert(0, format!("CHAOS_SEED={seed} cargo test chaos  # plays it again"));
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
        "chaos: {count} seeds, {} messages, faults {:?}, {} kills, {} deliveries duplicated; {}; {} s",
        sum.tally.messages,
        sum.faults,
        sum.kills,
        sum.duplicated,
        sum.tally.line(),
        begun.elapsed().as_secs()
    ));
    assert!(sum.tally.problems.is_empty(), "{}", sum.tally.problems.join("\n"));
}

/// The one seed that the environment names, or all of them.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one = std::env::var("CHAOS_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    one.map_or(0..count, |seed| seed..seed + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_the_ledgers_agree() {
    play_all(seeds(SEEDS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes about half an hour"]
async fn whatever_goes_wrong_the_ledgers_agree_for_many_seeds() {
    play_all(seeds(SEEDS_LONG)).await;
}
