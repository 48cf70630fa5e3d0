//! The statistics line: one a batch, also of a failure, with the last error; and the metrics of it.

use jiff::Timestamp;
use serde::Serialize;

use super::attempts::Tried;
use crate::batch::{Batch, Outcome};
use crate::clock;
use crate::id::BatchId;
use crate::message::Message;
use crate::telemetry::{Metric, Unit, measure};

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    provider: &'a str,
    batch_id: BatchId,
    messages: usize,
    attempts: u32,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    oldest_waited_ms: i64,
    took_ms: i64,
}

/// Tells how the attempts of a batch ended, which began at `begun`.
pub(super) fn report(batch: &Batch, members: &[Message], tried: &Tried, begun: Timestamp) {
    let now = clock::now();
    let outcome = match tried.outcome {
        Outcome::Confirmed { .. } => "CONFIRMED",
        Outcome::Rejected { .. } | Outcome::Disproved { .. } => "REJECTED",
        Outcome::Unknown => "UNKNOWN",
    };
    let oldest = members.first().map_or(begun, |oldest| oldest.id.created_at());
    let line = Line {
        event: "batch",
        provider: &batch.provider,
        batch_id: batch.id,
        messages: members.len(),
        attempts: tried.attempts,
        outcome,
        http_status: tried.answer.http_status,
        last_error: tried.answer.error.as_deref(),
        oldest_waited_ms: begun.as_millisecond() - oldest.as_millisecond(),
        took_ms: now.as_millisecond() - begun.as_millisecond(),
    };
    let count = |name, value| Metric { name, unit: Unit::Count, value };
    let time = |name, value| Metric { name, unit: Unit::Milliseconds, value };
    let metrics = [
        count("Requests", 1),
        count("Attempts", tried.attempts.into()),
        count("Messages", i64::try_from(members.len()).unwrap_or(i64::MAX)),
        count("Successes", i64::from(outcome == "CONFIRMED")),
        count("Failures", i64::from(outcome == "REJECTED")),
        count("Unknown", i64::from(outcome == "UNKNOWN")),
        time("OldestWaitMs", line.oldest_waited_ms),
        time("TookMs", line.took_ms),
    ];
    measure(now, &line, ("Provider", &batch.provider), &metrics);
}
