//! The tests: they call the real functions on the local stack over HTTP, as callers, operators and
//! providers do.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod batches;
mod bulk;
mod callback;
mod cancelling;
#[cfg(debug_assertions)]
mod chaos;
#[cfg(debug_assertions)]
mod crash;
mod dead_bells;
mod events;
mod failover;
mod faults;
mod front_door;
mod listing;
mod main_path;
mod messagebird;
mod model;
mod numbers;
mod operators;
mod planner;
mod rate_limit;
mod reconciliation;
mod regressions;
mod seeds;
mod several_providers;
mod statistics;
mod support;
mod sweep;
mod tally;
mod tidy;
mod words;
