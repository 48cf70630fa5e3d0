//! A process may stop anywhere: at every point before and after a write or a provider call, one after the other.
//!
//! A play is recorded once without a crash, which enumerates all passes of all points. Then it is played once for
//! each pass, with a process that is aborted there, and audited after everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tests::caller::message;
use tests::crash::Points;
use tests::fastsmsing::{self, Mishap, UpdateOptions};
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::sleep;

use crate::tally::{STAGES, Tally, announce};
use crate::tidy::sources;

/// Plays that may be under way, if they find a stage.
const AT_ONCE: usize = 24;
/// A pass depends on how the processes race; one that is not met by then counts as not covered.
const TRIES: usize = 6;
const RECORDINGS: usize = 3;
/// Pairs of stops in the short version.
const PAIRS: usize = 12;
const LOOK_MS: u64 = 10;
/// Ahead by so much, every courier of before counts as left behind, and every lost bell as overdue.
const JUMP_MS: i64 = 120_000;
const BATCH_SIZE: usize = 4;
/// Below the time-out of the client that waits for it.
const INTENT_LATE_MS: u64 = 1_800;
/// Those of the leftovers' dispatchers that die before the sweep comes: with claims and no batch, with a batch and
/// no outcome, with an outcome that no message was told.
const LEFT_BEHIND: [&str; 3] = [
    "Dispatch: before start a batch, time 1",
    "Dispatch: before settle a batch, time 1",
    "Dispatch: after settle a batch, time 1",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Play {
    /// Six messages, a provider that fails in several ways, and its reports.
    Everyday,
    /// A message that goes back, because the provider takes nothing for a while.
    TurnedAway,
    /// A sweep that finds one of everything.
    Leftovers,
}

/// Every play with a provider of either kind, without a key and with one.
const PLAYS: [(Play, bool); 6] = [
    (Play::Everyday, false),
    (Play::Everyday, true),
    (Play::TurnedAway, false),
    (Play::TurnedAway, true),
    (Play::Leftovers, false),
    (Play::Leftovers, true),
];

impl Play {
    /// The passes that it is there for: others have been met in another play.
    fn is_about(self, pass: &str) -> bool {
        match self {
            Play::Everyday => !pass.starts_with("Sweep"),
            Play::TurnedAway => pass.contains("hide a bell"),
            Play::Leftovers => pass.starts_with("Sweep"),
        }
    }
}

/// One play with a provider of one kind, and where its processes die.
#[derive(Clone, Debug)]
struct Run {
    play: Play,
    keyed: bool,
    crashes: Vec<String>,
}

struct Ran {
    run: Run,
    passed: Vec<String>,
    tally: Tally,
}

impl Run {
    async fn go(self) -> Result<Ran> {
        let _stage = STAGES.acquire().await?;
        let points = Points::new()?;
        let left_behind = LEFT_BEHIND.iter().filter(|_| self.play == Play::Leftovers).map(|pass| pass.to_string());
        points.crash_at(&self.crashes.iter().cloned().chain(left_behind).collect::<Vec<_>>())?;
        let scene = Scene::start(self.settings(&points)).await?;
        let played = match self.play {
            Play::Everyday => self.everyday(&scene, &points).await,
            Play::TurnedAway => self.turned_away(&scene, &points).await,
            Play::Leftovers => self.leftovers(&scene, &points).await,
        };
        points.set_clocks(&[JUMP_MS], true)?;
        let mut tally = Tally::of(scene).await;
        tally.problems.splice(..0, played.err().map(|error| format!("{error:#}")));
        Ok(Ran { passed: points.passed(), run: self, tally })
    }

    fn settings(&self, points: &Points) -> Settings {
        let automatic = self.play != Play::Leftovers;
        Settings {
            batch_size: BATCH_SIZE,
            attempts_max: 4,
            timeout_ms: 1_500,
            // Of the leftovers, no bell shall tell before the sweep comes.
            visibility_timeout_s: automatic.then_some(2),
            fastsmsing: fastsmsing::Options {
                key_lifetime_s: if self.keyed { 3_600 } else { 0 },
                updates: UpdateOptions {
                    automatic,
                    delay_ms: 100,
                    attempts_max: 100,
                    invalid_suffix: Some("4".to_owned()),
                    ..Default::default()
                },
                ..Default::default()
            },
            environment: points.environment(),
            ..Settings::default()
        }
    }

    async fn everyday(&self, scene: &Scene, points: &Points) -> Result<()> {
        let refused = Mishap::RefuseMessages { recipient_suffix: "5".to_owned() };
        let failures = [Mishap::ServerError, Mishap::TooMany { retry_after_s: 0 }, Mishap::ResetAfterAccepting];
        // The refusal as often as it takes to meet its message, in whichever batch that is.
        for mishap in failures.into_iter().chain(vec![refused; BATCH_SIZE]) {
            scene.fastsmsing.misbehave(mishap);
        }
        forbid_number(scene).await?;
        for n in 0..BATCH_SIZE + 2 {
            let id = post(scene, n).await?;
            if n == 2 {
                ensure!(post(scene, n).await? == id, "a key stands for two messages");
            }
        }
        self.until_crashed(scene, points).await
    }

    async fn turned_away(&self, scene: &Scene, points: &Points) -> Result<()> {
        scene.fastsmsing.misbehave(Mishap::WrongToken);
        post(scene, 0).await?;
        self.until_crashed(scene, points).await
    }

    /// Until a process has stopped as it was told, or all is quiet.
    async fn until_crashed(&self, scene: &Scene, points: &Points) -> Result<()> {
        tokio::select! {
            drained = scene.drain() => drained,
            died = passed(points, self.crashes.first()) => died,
        }
    }

    async fn leftovers(&self, scene: &Scene, points: &Points) -> Result<()> {
        for (n, pass) in LEFT_BEHIND.iter().enumerate() {
            if n == 2 {
                scene.fastsmsing.misbehave(Mishap::ServerError);
                scene.fastsmsing.misbehave(Mishap::RefuseBatch);
            }
            for n in n * BATCH_SIZE..(n + 1) * BATCH_SIZE {
                post(scene, n).await?;
            }
            passed(points, Some(&pass.to_string())).await?;
        }
        scene.stack.sqs_wire.set_rule(|_| Fault::DropRequest);
        post(scene, 3 * BATCH_SIZE).await?;
        let mut short = message(3 * BATCH_SIZE + 1);
        short["valid_until"] = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(30)).to_string().into();
        scene.shop().insist(&short, None).await?;
        scene.stack.sqs_wire.clear_rule();
        // All bells are lost: what is left is the sweep's.
        scene.stack.sqs.purge("Doorbell").await
    }
}

/// Every other message under a key.
async fn post(scene: &Scene, n: usize) -> Result<String> {
    let key = format!("order-{n}");
    let mut message = message(n);
    if n % 2 == 1 {
        return scene.shop().insist(&message, None).await;
    }
    message["reference"] = Value::from(key.as_str());
    scene.shop().insist(&message, Some(&key)).await
}

/// An operator's word about a number, until it is taken.
async fn forbid_number(scene: &Scene) -> Result<()> {
    let begun = Instant::now();
    let word = json!({"status": "INACTIVE"});
    while !scene.operator().put_to("/numbers/31699999999", &word).await.is_ok_and(|(status, _)| status.is_success()) {
        ensure!(begun.elapsed() < Duration::from_secs(100), "an operator is not heard");
        sleep(Duration::from_millis(LOOK_MS)).await;
    }
    Ok(())
}

/// Waits until a process has passed there; forever if there is no such pass.
async fn passed(points: &Points, pass: Option<&String>) -> Result<()> {
    let begun = Instant::now();
    while !pass.is_some_and(|pass| points.passed().contains(pass)) {
        ensure!(begun.elapsed() < Duration::from_secs(100), "{pass:?} was not passed");
        sleep(Duration::from_millis(LOOK_MS)).await;
    }
    Ok(())
}

/// What the runs came to, by function.
#[derive(Default)]
struct Report {
    covered: BTreeMap<String, usize>,
    missed: Vec<String>,
    points: BTreeSet<String>,
    traces: Vec<Ran>,
    tally: Tally,
}

impl Report {
    /// Makes the runs; those that miss their crash are made again.
    async fn of(runs: Vec<Run>) -> Self {
        let mut report = Report::default();
        let attempts = stream::iter(runs).map(|run| tokio::spawn(until_met(run)));
        let mut attempts = attempts.buffer_unordered(AT_ONCE);
        while let Some(ran) = attempts.next().await {
            match ran.context("a run panicked").and_then(|ran| ran) {
                Ok((ran, true)) => report.add(ran),
                Ok((ran, false)) => report.missed.push(format!("{:?}", ran.run)),
                Err(error) => report.tally.problems.push(format!("{error:#}")),
            }
        }
        report
    }

    fn add(&mut self, mut ran: Ran) {
        if let Some(crash) = ran.run.crashes.last() {
            let (function, point) = crash.split_once(": ").unwrap_or_default();
            *self.covered.entry(function.to_lowercase()).or_default() += 1;
            self.points.insert(point.split(", ").next().unwrap_or_default().to_owned());
        }
        if !ran.tally.problems.is_empty() {
            ran.tally.problems.insert(0, format!("{:?}, passed:\n  {}", ran.run, ran.passed.join("\n  ")));
        }
        self.tally += std::mem::take(&mut ran.tally);
        self.traces.push(ran);
    }

    fn line(&self) -> String {
        let covered: usize = self.covered.values().sum();
        let each: Vec<_> = self.covered.iter().map(|(function, count)| format!("{function} {count}")).collect();
        format!("{covered}/{} covered ({}); {}", covered + self.missed.len(), each.join(", "), self.tally.line())
    }

    /// No ledger disagrees, and only a few passes were not met again: how often a point is passed is up to a race, of
    /// `slack` passes in a hundred. That every point is met is asserted elsewhere.
    fn assert_clean(&self, slack: usize) {
        assert!(self.tally.problems.is_empty(), "{}", self.tally.problems.join("\n"));
        let met = self.traces.len();
        assert!(self.missed.len() * 100 <= (met * slack).max(200), "never met: {}", self.missed.join("\n"));
    }
}

async fn until_met(run: Run) -> Result<(Ran, bool)> {
    for left in (0..TRIES).rev() {
        let what = format!("{run:?}");
        let ran = run.clone().go().await.context(what)?;
        // A run with a problem counts, wherever its processes died.
        let met = run.crashes.iter().all(|crash| ran.passed.contains(crash)) || !ran.tally.problems.is_empty();
        if met || left == 0 {
            return Ok((ran, met));
        }
    }
    unreachable!("the last try returns")
}

/// All single crashes, of both kinds of provider: at every pass that each recording of the play has. Others are
/// accidents of a race; the points that they belong to have passes that are not.
async fn singles() -> Vec<Run> {
    let recordings = PLAYS.map(|(play, keyed)| vec![Run { play, keyed, crashes: Vec::new() }; RECORDINGS]);
    let recorded = Report::of(recordings.concat()).await;
    recorded.assert_clean(0);
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for Ran { run, passed, .. } in recorded.traces {
        for pass in passed.into_iter().filter(|pass| run.play.is_about(pass)) {
            *times.entry((run.play, run.keyed, pass)).or_default() += 1;
        }
    }
    let passes = times.into_iter().filter(|(_, times)| *times == RECORDINGS);
    passes.map(|((play, keyed, pass), _)| Run { play, keyed, crashes: vec![pass] }).collect()
}

/// Each pass once: where both kinds of provider lead there, with one of them in turn.
fn once_each(runs: Vec<Run>) -> Vec<Run> {
    let mut kinds: BTreeMap<_, Vec<Run>> = BTreeMap::new();
    for run in runs {
        kinds.entry((run.play, run.crashes.clone())).or_default().push(run);
    }
    kinds.into_values().enumerate().map(|(n, mut kinds)| kinds.swap_remove(n % kinds.len())).collect()
}

/// The points of the source, each with a name of its own.
fn points_of_the_source() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/src");
    let texts = sources(&folder).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let names = texts.flat_map(|text| {
        let calls = text.split("crash::around(\"").skip(1);
        calls.map(|call| call.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    });
    names.flat_map(|name| ["before", "after"].map(|when| format!("{when} {name}"))).collect()
}

/// Every pass once, with one kind of provider or the other; and a few pairs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_stop_at_every_point() {
    let traces = stop_at_each(once_each(singles().await)).await;
    stop_at_pairs(pairs(&traces), Some(PAIRS)).await;
}

/// The long version: every pass with both kinds of provider, and all pairs, or as many as `CRASH_PAIRS` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the better part of an hour"]
async fn and_whoever_takes_up_what_it_left_as_well() {
    let traces = stop_at_each(singles().await).await;
    stop_at_pairs(pairs(&traces), std::env::var("CRASH_PAIRS").ok().map(|count| count.parse().unwrap())).await;
}

async fn stop_at_each(runs: Vec<Run>) -> Vec<Ran> {
    let begun = Instant::now();
    let report = Report::of(runs).await;
    announce(&format!("crash points: {}; {} s", report.line(), begun.elapsed().as_secs()));
    report.assert_clean(10);
    let missed: Vec<_> = points_of_the_source().difference(&report.points).cloned().collect();
    assert!(missed.is_empty(), "no process was stopped {}", missed.join(", "));
    report.traces
}

/// After a stop of a dispatcher, whoever takes up what it left is stopped in turn: all pairs, or some of them.
async fn stop_at_pairs(mut pairs: Vec<Run>, count: Option<usize>) {
    let (begun, known) = (Instant::now(), pairs.len());
    fastrand::Rng::with_seed(0).shuffle(&mut pairs);
    pairs.truncate(count.unwrap_or(known));
    let report = Report::of(pairs).await;
    let line = report.line();
    announce(&format!("crash points, pairs of {known}: {line}; {} s", begun.elapsed().as_secs()));
    // Who takes up what was left depends on a race, too.
    report.assert_clean(10);
}

/// Every stop of a dispatcher with every point that dispatchers passed after it, the first time that they did.
fn pairs(traces: &[Ran]) -> Vec<Run> {
    let is_dispatch = |pass: &String| pass.starts_with("Dispatch");
    let firsts = traces.iter().filter(|ran| ran.run.play == Play::Everyday && ran.run.crashes.iter().all(is_dispatch));
    let mut pairs = Vec::new();
    for Ran { run, passed, .. } in firsts {
        let mut points = BTreeSet::new();
        let later =
            passed.iter().skip_while(|pass| !run.crashes.contains(pass)).skip(1).filter(|pass| is_dispatch(pass));
        for pass in later.filter(|pass| points.insert(pass.split(", ").next())) {
            pairs.push(Run { crashes: vec![run.crashes[0].clone(), pass.clone()], ..run.clone() });
        }
    }
    pairs
}

/// A dispatcher that is slow, not dead: while its intent is on the wire, a sweep takes it for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_was_taken_for_dead_sends_nothing() {
    let points = Points::new().unwrap();
    let scene = Scene::start(Settings { batch_size: 4, environment: points.environment(), ..Settings::default() });
    let scene = scene.await.unwrap();
    let intents = AtomicUsize::new(0);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let intent =
            seen.operation.as_deref() == Some("PutItem") && String::from_utf8_lossy(&seen.body).contains("STARTED");
        let first = intent && intents.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Fault::DelayMs(INTENT_LATE_MS) } else { Fault::Pass }
    });
    for n in 0..4 {
        post(&scene, n).await.unwrap();
    }
    passed(&points, Some(&"Dispatch: before start a batch, time 1".to_owned())).await.unwrap();
    // Only the sweep looks at its clock now.
    points.set_clocks(&[JUMP_MS], true).unwrap();
    let swept = scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
    points.set_clocks(&[], true).unwrap();
    assert_eq!(swept["recovered"], 1);
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.delivered()), (0, 4));
}
