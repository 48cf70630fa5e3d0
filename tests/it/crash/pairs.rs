//! Pairs of crashes: a dispatcher stops, and then the one that takes over its work.

use std::collections::BTreeSet;

use super::play::{Play, Run, RunResult};

/// Every crash of a dispatcher, with the first pass of every point that dispatchers passed later.
pub(super) fn pairs(results: &[RunResult]) -> Vec<Run> {
    let is_dispatch = |pass: &String| pass.starts_with("Dispatch");
    let firsts = results.iter().filter(|result| {
        result.run.play == Play::Everyday && result.run.crashes.iter().all(is_dispatch)
    });
    let mut pairs = Vec::new();
    for RunResult { run, passed, .. } in firsts {
        let mut points = BTreeSet::new();
        let later = passed
            .iter()
            .skip_while(|pass| !run.crashes.contains(pass))
            .skip(1)
            .filter(|pass| is_dispatch(pass));
        for pass in later.filter(|pass| points.insert(pass.split(", ").next())) {
            pairs.push(Run {
                crashes: vec![run.crashes[0].clone(), pass.clone()],
                ..run.clone()
            });
        }
    }
    pairs
}
