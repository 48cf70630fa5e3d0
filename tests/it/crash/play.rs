//! The plays, and one run of a play with the crashes that it is given.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::caller::message;
use tests::crash::CrashPoints;
use tests::fastsmsing::{self, Mishap, UpdateOptions};
use tests::scene::{Scene, Settings};
use tests::wire::Fault;
use tokio::time::sleep;

use crate::tally::{STAGES, Tally};

/// How often a run checks whether a pass was reached.
const LOOK_MS: u64 = 10;
/// How long a run waits for a pass, or for an operator's decision to be recorded.
const WAIT_MAX_S: u64 = 100;
/// With clocks this far ahead, every earlier dispatcher is past its deadline, and every lost bell
/// overdue.
pub(super) const JUMP_MS: i64 = 120_000;
const BATCH_SIZE: usize = 4;
/// Where three dispatchers of the leftovers die before the sweep comes: with claims and no batch,
/// with a batch and no outcome, with an outcome that was not applied to any message.
const LEFT_BEHIND: [&str; 3] = [
    "Dispatch: before start a batch, time 1",
    "Dispatch: before settle a batch, time 1",
    "Dispatch: after settle a batch, time 1",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Play {
    /// Six messages, a provider that fails in several ways, and its reports.
    Everyday,
    /// A message that goes back to waiting, because the provider takes nothing for a while.
    TurnedAway,
    /// A sweep that finds one of everything.
    Leftovers,
}

/// Every play with a provider of either kind, without an idempotency key and with one.
pub(super) const PLAYS: [(Play, bool); 6] = [
    (Play::Everyday, false),
    (Play::Everyday, true),
    (Play::TurnedAway, false),
    (Play::TurnedAway, true),
    (Play::Leftovers, false),
    (Play::Leftovers, true),
];

impl Play {
    /// Whether the play is run for this pass; the other passes belong to another play.
    pub(super) fn is_about(self, pass: &str) -> bool {
        match self {
            Play::Everyday => !pass.starts_with("Sweep"),
            // The point at which a received bell is kept from ringing again for a while.
            Play::TurnedAway => pass.contains(" a bell"),
            Play::Leftovers => pass.starts_with("Sweep"),
        }
    }
}

/// One play with a provider of one kind, and where its processes are aborted.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) play: Play,
    pub(super) keyed: bool,
    pub(super) crashes: Vec<String>,
}

pub(super) struct RunResult {
    pub(super) run: Run,
    pub(super) passed: Vec<String>,
    pub(super) tally: Tally,
}

impl Run {
    pub(super) async fn execute(self) -> Result<RunResult> {
        let _stage = STAGES.acquire().await?;
        let points = CrashPoints::new()?;
        points.crash_at(&self.all_crashes())?;
        let scene = Scene::start(self.settings(&points)).await?;
        let played = match self.play {
            Play::Everyday => self.everyday(&scene, &points).await,
            Play::TurnedAway => self.turned_away(&scene, &points).await,
            Play::Leftovers => self.leftovers(&scene, &points).await,
        };
        points.set_clocks(&[JUMP_MS], true)?;
        let mut tally = Tally::of(scene).await;
        tally
            .problems
            .splice(..0, played.err().map(|error| format!("{error:#}")));
        Ok(RunResult {
            passed: points.passed(),
            run: self,
            tally,
        })
    }

    /// The crashes of this run, and those that belong to the play.
    fn all_crashes(&self) -> Vec<String> {
        let left_behind = LEFT_BEHIND
            .iter()
            .filter(|_| self.play == Play::Leftovers)
            .map(|pass| pass.to_string());
        self.crashes.iter().cloned().chain(left_behind).collect()
    }

    fn settings(&self, points: &CrashPoints) -> Settings {
        let automatic = self.play != Play::Leftovers;
        Settings {
            batch_size: BATCH_SIZE,
            attempts_max: 4,
            timeout_ms: 1_500,
            // The bells of the leftovers must not come back before the sweep does.
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

    async fn everyday(&self, scene: &Scene, points: &CrashPoints) -> Result<()> {
        let refused = Mishap::RefuseMessages {
            recipient_suffix: "5".to_owned(),
        };
        let failures = [
            Mishap::ServerError,
            Mishap::TooMany { retry_after_s: 0 },
            Mishap::ResetAfterAccepting,
        ];
        // The refusal is repeated, because any of the next batches may hold its message.
        for mishap in failures.into_iter().chain(vec![refused; BATCH_SIZE]) {
            scene.fastsmsing.misbehave(mishap);
        }
        deactivate_number(scene).await?;
        for n in 0..BATCH_SIZE + 2 {
            let id = post(scene, n).await?;
            if n == 2 {
                ensure!(post(scene, n).await? == id, "one key made two messages");
            }
        }
        self.until_crashed(scene, points).await
    }

    async fn turned_away(&self, scene: &Scene, points: &CrashPoints) -> Result<()> {
        scene.fastsmsing.misbehave(Mishap::WrongToken);
        post(scene, 0).await?;
        self.until_crashed(scene, points).await
    }

    /// Waits until the first crash has happened, or until nothing is on its way any more.
    async fn until_crashed(&self, scene: &Scene, points: &CrashPoints) -> Result<()> {
        tokio::select! {
            drained = scene.drain() => drained,
            died = passed(points, self.crashes.first()) => died,
        }
    }

    async fn leftovers(&self, scene: &Scene, points: &CrashPoints) -> Result<()> {
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
        short["valid_until"] = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(30))
            .to_string()
            .into();
        scene.shop().post_until_accepted(&short, None).await?;
        scene.stack.sqs_wire.clear_rule();
        // All bells are lost, so only a sweep can find what is left.
        scene.stack.sqs.purge("Doorbell").await
    }
}

/// Posts message `n`; every other message has an Idempotency-Key.
pub(super) async fn post(scene: &Scene, n: usize) -> Result<String> {
    let key = format!("order-{n}");
    let mut message = message(n);
    if n % 2 == 1 {
        return scene.shop().post_until_accepted(&message, None).await;
    }
    message["reference"] = Value::from(key.as_str());
    scene.shop().post_until_accepted(&message, Some(&key)).await
}

/// Repeats an operator's decision about a number until it is recorded.
async fn deactivate_number(scene: &Scene) -> Result<()> {
    let begun = Instant::now();
    let decision = json!({"status": "INACTIVE"});
    while !scene
        .operator()
        .put_to("/numbers/31699999999", &decision)
        .await
        .is_ok_and(|(status, _)| status.is_success())
    {
        ensure!(
            begun.elapsed() < Duration::from_secs(WAIT_MAX_S),
            "the operator's decision was not recorded"
        );
        sleep(Duration::from_millis(LOOK_MS)).await;
    }
    Ok(())
}

/// Waits until a process has reached this pass; without a pass, it fails after a while.
pub(super) async fn passed(points: &CrashPoints, pass: Option<&String>) -> Result<()> {
    let begun = Instant::now();
    while !pass.is_some_and(|pass| points.passed().contains(pass)) {
        ensure!(
            begun.elapsed() < Duration::from_secs(WAIT_MAX_S),
            "{pass:?} was not reached"
        );
        sleep(Duration::from_millis(LOOK_MS)).await;
    }
    Ok(())
}
