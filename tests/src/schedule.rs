//! The clock: invokes each function as often as its schedules say.

use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::lambda::Lambda;
use crate::template::{Function, Schedule};

/// Ticks until it is dropped.
pub struct Clock {
    _schedules: JoinSet<()>,
}

impl Clock {
    /// As on AWS, the first tick comes when its time has passed once.
    pub fn start(functions: &[Function], lambda: &Arc<Lambda>) -> Clock {
        let schedules =
            functions.iter().flat_map(|function| function.schedules.iter().map(move |each| (function, each)));
        let schedules =
            schedules.map(|(function, each)| tick(each.clone(), function.binary.clone(), Arc::clone(lambda)));
        Clock { _schedules: schedules.collect() }
    }
}

async fn tick(schedule: Schedule, function: String, lambda: Arc<Lambda>) {
    let mut ticks = interval_at(Instant::now() + schedule.every, schedule.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        // A failed tick is in the function's log, and the next one comes anyway.
        let _ = lambda.invoke(&function, schedule.input.clone().unwrap_or(Value::Null)).await;
    }
}
