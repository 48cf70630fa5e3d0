//! The tests, through the front door, against the real functions on the local stack.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod batches;
#[cfg(debug_assertions)]
mod chaos;
#[cfg(debug_assertions)]
mod crash;
mod events;
mod faults;
mod front_door;
mod lessons;
mod listing;
mod model;
mod operators;
mod path;
mod reconciliation;
mod seeds;
mod several_providers;
mod statistics;
mod support;
mod sweep;
mod tally;
mod tidy;
