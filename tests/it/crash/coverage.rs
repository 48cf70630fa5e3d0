//! What many runs covered, and whether their ledgers agree.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};

use super::play::{Run, RunResult};
use crate::tally::Tally;

/// Runs that may be under way; how many of them play at a time is up to the stages.
const AT_ONCE: usize = 24;
/// A pass depends on how the processes race; after this many runs without it, it counts as missed.
const TRIES: usize = 6;

#[derive(Default)]
pub(super) struct Coverage {
    /// How many crashes each function had.
    covered: BTreeMap<String, usize>,
    missed: Vec<String>,
    pub(super) points: BTreeSet<String>,
    pub(super) results: Vec<RunResult>,
    tally: Tally,
}

impl Coverage {
    /// Executes the runs; one that misses its crash is repeated.
    pub(super) async fn of(runs: Vec<Run>) -> Self {
        let mut coverage = Coverage::default();
        coverage.execute(runs).await;
        coverage
    }

    /// Executes runs in their order until `wanted` of them have reached their crashes. How often a
    /// point is passed depends on a race, so a run that misses one is replaced by the next.
    pub(super) async fn of_some(runs: Vec<Run>, wanted: usize) -> Self {
        let (mut coverage, mut runs) = (Coverage::default(), runs.into_iter());
        loop {
            let missing = wanted.saturating_sub(coverage.results.len());
            let next: Vec<_> = runs.by_ref().take(missing).collect();
            if next.is_empty() || !coverage.tally.problems.is_empty() {
                return coverage;
            }
            coverage.missed.clear();
            coverage.execute(next).await;
        }
    }

    async fn execute(&mut self, runs: Vec<Run>) {
        let coverage = self;
        let attempts = stream::iter(runs).map(|run| tokio::spawn(run_until_reached(run)));
        let mut attempts = attempts.buffer_unordered(AT_ONCE);
        while let Some(result) = attempts.next().await {
            match result.context("a run panicked").and_then(|result| result) {
                Ok((result, true)) => coverage.add(result),
                Ok((result, false)) => coverage.missed.push(format!("{:?}", result.run)),
                Err(error) => coverage.tally.problems.push(format!("{error:#}")),
            }
        }
    }

    fn add(&mut self, mut result: RunResult) {
        if let Some(crash) = result.run.crashes.last() {
            let (function, point) = crash.split_once(": ").unwrap_or_default();
            *self.covered.entry(function.to_lowercase()).or_default() += 1;
            self.points
                .insert(point.split(", ").next().unwrap_or_default().to_owned());
        }
        if !result.tally.problems.is_empty() {
            let passed = result.passed.join("\n  ");
            let about = format!("{:?}, passed:\n  {passed}", result.run);
            result.tally.problems.insert(0, about);
        }
        self.tally += std::mem::take(&mut result.tally);
        self.results.push(result);
    }

    pub(super) fn line(&self) -> String {
        let covered: usize = self.covered.values().sum();
        let each: Vec<_> = self
            .covered
            .iter()
            .map(|(function, count)| format!("{function} {count}"))
            .collect();
        format!(
            "{covered}/{} covered ({}); {}",
            covered + self.missed.len(),
            each.join(", "),
            self.tally.line()
        )
    }

    /// Asserts that no ledger disagrees, and that at most `slack` passes in a hundred were missed.
    pub(super) fn assert_clean(&self, slack: usize) {
        assert!(
            self.tally.problems.is_empty(),
            "{}",
            self.tally.problems.join("\n")
        );
        let reached = self.results.len();
        assert!(
            self.missed.len() * 100 <= (reached * slack).max(200),
            "never reached: {}",
            self.missed.join("\n")
        );
    }
}

async fn run_until_reached(run: Run) -> Result<(RunResult, bool)> {
    for left in (0..TRIES).rev() {
        let what = format!("{run:?}");
        let result = run.clone().execute().await.context(what)?;
        // A run with a problem counts, wherever its processes died.
        let reached = run
            .crashes
            .iter()
            .all(|crash| result.passed.contains(crash))
            || !result.tally.problems.is_empty();
        if reached || left == 0 {
            return Ok((result, reached));
        }
    }
    unreachable!("the last try returns")
}
