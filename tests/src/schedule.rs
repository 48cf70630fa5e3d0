//! Invokes each function at the intervals of its schedules.

use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::lambda::Lambda;
use crate::template::{Function, Schedule};

/// Runs all schedules until it is dropped.
pub struct Scheduler {
    _schedules: JoinSet<()>,
}

impl Scheduler {
    /// As on AWS, the first tick comes after the first interval.
    pub fn start(functions: &[Function], lambda: &Arc<Lambda>) -> Scheduler {
        let schedules = functions
            .iter()
            .flat_map(|function| function.schedules.iter().map(move |each| (function, each)));
        let schedules = schedules.map(|(function, each)| {
            tick(each.clone(), function.binary.clone(), Arc::clone(lambda))
        });
        Scheduler {
            _schedules: schedules.collect(),
        }
    }
}

async fn tick(schedule: Schedule, function: String, lambda: Arc<Lambda>) {
    let mut ticks = interval_at(Instant::now() + schedule.every, schedule.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        // An error shows in the function's log, and the next tick comes anyway.
        let _ = lambda
            .invoke(&function, schedule.input.clone().unwrap_or(Value::Null))
            .await;
    }
}
