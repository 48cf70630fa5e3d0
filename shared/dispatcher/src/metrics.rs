//! Metrics as log lines, in CloudWatch's Embedded Metric Format.
//!
//! A metric that is part of a log line costs no call and cannot disagree with the log. Such a line
//! has an object inside it, which `tracing` cannot write, so it goes to standard output directly.

use std::collections::BTreeMap;
use std::io::{Write, stdout};

use jiff::Timestamp;
use serde::Serialize;

/// The namespace of all our metrics.
const NAMESPACE: &str = "SmsProxy";

/// The unit of a metric, in CloudWatch's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    Count,
    Milliseconds,
}

/// A figure of a line.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    pub value: i64,
}

/// One line: what happened, and its figures under the names that `_aws` declares.
#[derive(Serialize)]
struct Line<'a, Event> {
    timestamp: Timestamp,
    level: &'static str,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(rename = "_aws")]
    declared: Declared<'a>,
    #[serde(flatten)]
    dimension: BTreeMap<&'static str, &'a str>,
    #[serde(flatten)]
    values: BTreeMap<&'static str, i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Declared<'a> {
    /// Milliseconds since 1970.
    timestamp: i64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: [[&'a str; 1]; 1],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: Unit,
}

/// Logs an event that happened at `at`, with its metrics by one dimension.
pub fn emit(
    at: Timestamp,
    event: &impl Serialize,
    dimension: (&'static str, &str),
    metrics: &[Metric],
) {
    let mut line = line(at, event, dimension, metrics);
    line.push('\n');
    // In one piece, so that no other line gets in between. If standard output is closed, no one
    // reads the log.
    let _ = stdout().lock().write_all(line.as_bytes());
}

fn line(
    at: Timestamp,
    event: &impl Serialize,
    (name, value): (&'static str, &str),
    metrics: &[Metric],
) -> String {
    let definitions = metrics.iter().map(|metric| Definition {
        name: metric.name,
        unit: metric.unit,
    });
    let directive = Directive {
        namespace: NAMESPACE,
        dimensions: [[name]],
        metrics: definitions.collect(),
    };
    let line = Line {
        timestamp: at,
        level: "INFO",
        event,
        declared: Declared {
            timestamp: at.as_millisecond(),
            cloud_watch_metrics: [directive],
        },
        dimension: [(name, value)].into(),
        values: metrics
            .iter()
            .map(|metric| (metric.name, metric.value))
            .collect(),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_line_is_an_event_and_its_metrics() {
        let metrics = [
            Metric {
                name: "Requests",
                unit: Unit::Count,
                value: 1,
            },
            Metric {
                name: "TookMs",
                unit: Unit::Milliseconds,
                value: 250,
            },
        ];
        let at = Timestamp::from_millisecond(1_795_262_400_000).unwrap();
        let line = line(
            at,
            &json!({"event": "batch"}),
            ("Provider", "fastsmsing"),
            &metrics,
        );
        let expected = json!({
            "timestamp": "2026-11-21T12:00:00Z", "level": "INFO", "event": "batch",
            "_aws": {"Timestamp": 1_795_262_400_000_i64, "CloudWatchMetrics": [{
                "Namespace": "SmsProxy", "Dimensions": [["Provider"]],
                "Metrics": [{"Name": "Requests", "Unit": "Count"}, {"Name": "TookMs", "Unit": "Milliseconds"}]}]},
            "Provider": "fastsmsing", "Requests": 1, "TookMs": 250,
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        assert!(!line.contains('\n'));
    }
}
