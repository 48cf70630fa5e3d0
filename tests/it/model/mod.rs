//! A model of the protocol, and a search that visits every state of it.
//!
//! The other tests see the protocol in a few of the orders in which it can run; the model sees all
//! of them. Callers send one or two messages. Two dispatchers, up to two sweeps, the status
//! function, an operator and the provider act in any order, one write at a time, and an `Event`
//! such as a crash or a lost answer may come between any two steps, as often as a run allows. In
//! every state that can be reached, the promises must hold.
//!
//! Two checks show that a pass means something. Each landmark, a state that is hard to get into,
//! must be reached by some run. And each mutant, a run in which one rule of the protocol is broken,
//! must break a promise.
//!
//! The pure decisions are the product's own: the model calls the crate `domain` for what an answer
//! means (`attempt`), what becomes of a member (`member`), what recovery does next (`recovery`),
//! which bells ring again (`bell`), when a report settles a batch (`delivery_report`) and which
//! transitions there are (`state`). Only the conditions of the record's writes (W1 to W11, listed
//! in ARCHITECTURE.md) are restated, in `writes`, because the real ones are DynamoDB expressions.
//!
//! ```text
//! settings    what a run assumes               world      record, bells, processes, provider
//! runs        the configurations               actions    what can happen, and what it changes
//! mutants     one broken rule each             choices    which actions a state allows
//! promises    what must hold in every state    writes     the conditional writes of the record
//! landmarks   what some run must reach
//!
//! The actors: dispatcher, sweep, status, operator, provider
//! ```

mod actions;
mod choices;
mod dispatcher;
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

/// Threads of the search: as many as the smallest machine that runs the tests has cores.
const THREADS: usize = 2;

/// The protocol under the settings of one run.
struct Protocol {
    settings: Settings,
}

impl Protocol {
    /// Whether this run breaks the rule that the mutant stands for.
    fn is(&self, mutant: Mutant) -> bool {
        self.settings.mutant == Some(mutant)
    }

    /// Whether the run allows the event once more.
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
        self.perform(&mut next, action);
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

/// What the search of one run found.
struct Found {
    states: usize,
    /// The broken promises, each with the shortest sequence of actions that breaks it.
    broken: Vec<String>,
    landmarks: Vec<&'static str>,
}

/// Visits every state of a run. A run with a mutant ends at the first broken promise.
fn explore(settings: Settings) -> Found {
    let end = if settings.mutant.is_some() {
        HasDiscoveries::AnyFailures
    } else {
        HasDiscoveries::All
    };
    let search = Protocol { settings }
        .checker()
        .threads(THREADS)
        .finish_when(end);
    let checker = search.spawn_bfs().join();
    let mut found = Found {
        states: checker.unique_state_count(),
        broken: Vec::new(),
        landmarks: Vec::new(),
    };
    for (name, path) in checker.discoveries() {
        let property = checker.model().property(name);
        if property.expectation.discovery_is_failure() {
            let actions = path.into_actions().into_iter();
            let steps: String = actions.map(|action| format!("\n    {action:?}")).collect();
            found.broken.push(format!("{name}:{steps}"));
        } else {
            found.landmarks.push(name);
        }
    }
    found
}

/// Explores the runs and then the mutants, and prints the figures of both.
fn check(runs: Vec<Settings>, mutants: Vec<Settings>) {
    let (configurations, rules) = (runs.len(), mutants.len());
    let states = explore_all(runs);
    let survivors: Vec<_> = mutants
        .into_iter()
        .filter(|run| explore(run.clone()).broken.is_empty())
        .map(|run| run.mutant)
        .collect();
    let caught = rules - survivors.len();
    // `eprintln!` would be captured, and shown only when the test fails.
    let figures = format!(
        "model: {states} states explored in {configurations} configurations, \
         {caught}/{rules} mutants caught"
    );
    let _ = writeln!(stderr(), "{figures}");
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}

/// Explores runs that must keep every promise and together reach every landmark; returns how many
/// states they have.
fn explore_all(runs: Vec<Settings>) -> usize {
    let (mut states, mut reached) = (0, BTreeSet::new());
    for run in runs {
        let name = run.name;
        let found = explore(run);
        eprintln!("{name}: {} states", found.states);
        assert!(
            found.broken.is_empty(),
            "{name}: {}",
            found.broken.join("\n")
        );
        states += found.states;
        reached.extend(found.landmarks);
    }
    let landmarks = landmarks::landmarks()
        .into_iter()
        .map(|landmark| landmark.name);
    let missed: Vec<_> = landmarks.filter(|name| !reached.contains(name)).collect();
    assert!(missed.is_empty(), "no run reaches: {missed:?}");
    states
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
