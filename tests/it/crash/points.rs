//! The crash points: those that the plays pass, and those that the source has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::coverage::Coverage;
use super::play::{PLAYS, Run, RunResult};
use crate::tidy::sources;

const RECORDINGS: usize = 3;

/// All single crashes, with both kinds of provider: one at every pass that each recording of a play
/// has. A pass that only some recordings have is an accident of a race; its point has other passes.
pub(super) async fn singles() -> Vec<Run> {
    let recordings = PLAYS.map(|(play, keyed)| {
        let run = Run {
            play,
            keyed,
            crashes: Vec::new(),
        };
        vec![run; RECORDINGS]
    });
    let recorded = Coverage::of(recordings.concat()).await;
    recorded.assert_clean(0);
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for RunResult { run, passed, .. } in recorded.results {
        for pass in passed.into_iter().filter(|pass| run.play.is_about(pass)) {
            *times.entry((run.play, run.keyed, pass)).or_default() += 1;
        }
    }
    let passes = times.into_iter().filter(|(_, times)| *times == RECORDINGS);
    passes
        .map(|((play, keyed, pass), _)| Run {
            play,
            keyed,
            crashes: vec![pass],
        })
        .collect()
}

/// Each pass once. Where both kinds of provider lead to it, the kinds alternate.
pub(super) fn once_each(runs: Vec<Run>) -> Vec<Run> {
    let mut kinds: BTreeMap<_, Vec<Run>> = BTreeMap::new();
    for run in runs {
        kinds
            .entry((run.play, run.crashes.clone()))
            .or_default()
            .push(run);
    }
    kinds
        .into_values()
        .enumerate()
        .map(|(n, mut kinds)| kinds.swap_remove(n % kinds.len()))
        .collect()
}

/// Every point that the source of the shared crates names.
pub(super) fn points_of_the_source() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("shared");
    let texts = sources(&folder)
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap());
    let names = texts.flat_map(|text| {
        let calls = text.split("crash::around(\"").skip(1);
        calls
            .map(|call| call.split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    });
    names
        .flat_map(|name| ["before", "after"].map(|when| format!("{when} {name}")))
        .collect()
}
