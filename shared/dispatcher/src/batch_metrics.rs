//! The statistics line of a batch: one line per batch, failed ones included, with the last error
//! and the metrics.

use domain::batch::{Batch, Outcome};
use domain::id::BatchId;
use domain::message::Message;
use jiff::Timestamp;
use record::clock;
use serde::Serialize;

use crate::attempts::Ended;
use crate::metrics::{Metric, Unit, emit};

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

/// Logs how the attempts of a batch ended, the first of which began at `begun`.
pub(crate) fn log_batch(batch: &Batch, members: &[Message], ended: &Ended, begun: Timestamp) {
    let now = clock::now();
    let outcome = match ended.outcome {
        Outcome::Confirmed { .. } => "CONFIRMED",
        Outcome::Rejected { .. } => "REJECTED",
        Outcome::Unknown => "UNKNOWN",
    };
    let oldest = members
        .first()
        .map_or(begun, |oldest| oldest.id.created_at());
    let line = Line {
        event: "batch",
        provider: &batch.provider,
        batch_id: batch.id,
        messages: members.len(),
        attempts: ended.attempts,
        outcome,
        http_status: ended.answer.http_status,
        last_error: ended.answer.error.as_deref(),
        oldest_waited_ms: begun.as_millisecond() - oldest.as_millisecond(),
        took_ms: now.as_millisecond() - begun.as_millisecond(),
    };
    let count = |name, value| Metric {
        name,
        unit: Unit::Count,
        value,
    };
    let time = |name, value| Metric {
        name,
        unit: Unit::Milliseconds,
        value,
    };
    let metrics = [
        count("Requests", 1),
        count("Attempts", ended.attempts.into()),
        count("Messages", i64::try_from(members.len()).unwrap_or(i64::MAX)),
        count("Successes", i64::from(outcome == "CONFIRMED")),
        count("Failures", i64::from(outcome == "REJECTED")),
        count("Unknown", i64::from(outcome == "UNKNOWN")),
        time("OldestWaitMs", line.oldest_waited_ms),
        time("TookMs", line.took_ms),
    ];
    emit(now, &line, ("Provider", &batch.provider), &metrics);
}
