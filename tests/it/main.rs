//! The tests, through the front door, against the real functions on the local stack.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod batches;
mod bulk;
mod callback;
mod cancelling;
#[cfg(debug_assertions)]
mod chaos;
#[cfg(debug_assertions)]
mod crash;
mod events;
mod faults;
mod front_door;
mod lessons;
mod listing;
mod messagebird;
mod model;
mod numbers;
mod operators;
mod pace;
mod path;
mod planner;
mod reconciliation;
mod rivals;
mod seeds;
mod several_providers;
mod statistics;
mod support;
mod sweep;
mod tally;
mod tidy;
