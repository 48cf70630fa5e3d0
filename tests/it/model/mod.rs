//! The protocol as a model, every state of which is visited.
//!
//! Callers send one or two messages. Two couriers, up to two sweeps, the status function, an operator and the
//! provider act in any order, one write at a time; what does not happen every day happens at any moment, as often as
//! a run allows. In every state that can be reached so, the promise must hold. To know that this says something,
//! the rules are taken away one at a time, and each time the promise must break.
//!
//! Where a message may go is asked of `shared::state`. The rest of the rules are restated in `writes`, `courier`,
//! `sweep`, `status` and `operator`, each next to the write (W1 to W11) or the answer of the provider that it stands for.

mod actions;
mod choices;
mod courier;
mod landmarks;
mod mutants;
mod operator;
mod promises;
mod provider;
mod runs;
mod sets;
mod settings;
mod status;
mod sweep;
mod world;
mod writes;

use std::collections::BTreeSet;
use std::io::{Write, stderr};

use stateright::{Checker, HasDiscoveries, Model, Property};

use actions::Action;
use settings::{Event, Mutant, Settings};
use world::World;

const THREADS: usize = 2;

/// The protocol, under one run's settings.
struct Protocol {
    settings: Settings,
}

impl Protocol {
    /// The rule that this mutant lacks is broken.
    fn is(&self, mutant: Mutant) -> bool {
        self.settings.mutant == Some(mutant)
    }

    /// The event may happen once more.
    fn may(&self, world: &World, event: Event) -> bool {
        world.happened.of(event) < self.settings.events.of(event)
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.choices(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.happen(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::promises();
        if self.settings.mutant.is_none() {
            properties.extend(landmarks::landmarks());
        }
        properties
    }
}

/// What one run found.
struct Found {
    states: usize,
    /// The shortest way to each broken promise.
    broken: Vec<String>,
    landmarks: Vec<&'static str>,
}

/// Visits every state of a run, or, where a rule is broken, all up to the first broken promise.
fn explore(settings: Settings) -> Found {
    let end = if settings.mutant.is_some() { HasDiscoveries::AnyFailures } else { HasDiscoveries::All };
    let checker = Protocol { settings }.checker().threads(THREADS).finish_when(end).spawn_bfs().join();
    let mut found = Found { states: checker.unique_state_count(), broken: Vec::new(), landmarks: Vec::new() };
    for (name, path) in checker.discoveries() {
        if checker.model().property(name).expectation.discovery_is_failure() {
            let steps = path.into_actions().into_iter().map(|action| format!("\n    {action:?}"));
            found.broken.push(format!("{name}:{}", steps.collect::<String>()));
        } else {
            found.landmarks.push(name);
        }
    }
    found
}

/// Explores the runs, and then the runs with a broken rule; says how much there was to see.
fn check(runs: Vec<Settings>, mutants: Vec<Settings>) {
    let (mut states, mut reached) = (0, BTreeSet::new());
    let (configurations, rules) = (runs.len(), mutants.len());
    for run in runs {
        let name = run.name;
        let found = explore(run);
        eprintln!("{name}: {} states", found.states);
        assert!(found.broken.is_empty(), "{name}: {}", found.broken.join("\n"));
        states += found.states;
        reached.extend(found.landmarks);
    }
    let missed: Vec<_> =
        landmarks::landmarks().into_iter().map(|one| one.name).filter(|one| !reached.contains(one)).collect();
    assert!(missed.is_empty(), "no run reaches: {missed:?}");

    let mut survivors = Vec::new();
    for run in mutants {
        let mutant = run.mutant;
        if explore(run).broken.is_empty() {
            survivors.push(mutant);
        }
    }
    let caught = rules - survivors.len();
    // Not by `eprintln!`, which is only heard when a test fails.
    let figures =
        format!("model: {states} states explored in {configurations} configurations, {caught}/{rules} mutants caught");
    let _ = writeln!(stderr(), "{figures}");
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}

#[test]
fn the_promise_holds_in_every_state_of_the_small_runs() {
    check(runs::small(), mutants::all());
}

#[test]
#[ignore = "a hundred million states: some ten minutes in a release build"]
fn the_promise_holds_in_every_state_of_the_large_runs() {
    check(runs::large(), mutants::all());
}
