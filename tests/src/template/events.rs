//! Reads what invokes a function: routes of the HTTP API, queues and schedules.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::fields::{Fields, Node};

/// The largest batch that needs no window. SQS delivers at most ten messages at a time.
const BATCH_SIZE_WITHOUT_WINDOW: u64 = 10;

/// A route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST`, …, or `ANY`.
    pub method: String,
    /// It has `{name}` for one segment and `{name+}` for all the rest.
    pub path: String,
}

/// An SQS event source mapping.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its place in the template.
    pub path: String,
    pub queue: String,
    pub queue_arn: String,
    pub batch_size: usize,
    pub window: Duration,
    pub reports_failures: bool,
    pub concurrency_max: Option<usize>,
}

/// A schedule of EventBridge.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub every: Duration,
    /// The event that the function receives, if it is not EventBridge's own.
    pub input: Option<Value>,
}

#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) routes: Vec<Route>,
    pub(super) sources: Vec<Source>,
    pub(super) schedules: Vec<Schedule>,
}

pub(super) fn read(node: Option<Node>) -> Result<Events> {
    let mut events = Events::default();
    let Some(node) = node else { return Ok(events) };
    for (_, event) in node.entries()? {
        let path = event.path.clone();
        let mut event = event.fields()?;
        let kind = event.need("Type")?.text()?;
        let properties = event.need("Properties")?.fields()?;
        event.finish()?;
        match kind.as_str() {
            "HttpApi" => events.routes.push(route(properties)?),
            "SQS" => events.sources.push(source(properties)?),
            "Schedule" => events.schedules.push(schedule(properties, "Schedule")?),
            "ScheduleV2" => events
                .schedules
                .push(schedule(properties, "ScheduleExpression")?),
            kind => bail!("{path}: an event of type {kind} not understood"),
        }
    }
    Ok(events)
}

fn route(mut properties: Fields) -> Result<Route> {
    // There is one HTTP API, and the reference to it is resolved already.
    properties.ignore(&["ApiId"]);
    if let Some(format) = properties.take("PayloadFormatVersion") {
        format.must_be("2.0")?;
    }
    let method = properties.need("Method")?.text()?.to_uppercase();
    let path = properties.need("Path")?.text()?;
    properties.finish()?;
    Ok(Route { method, path })
}

fn source(mut properties: Fields) -> Result<Source> {
    let path = properties.path.clone();
    let queue_arn = properties.need("Queue")?.text()?;
    let (_, queue) = queue_arn
        .rsplit_once(':')
        .with_context(|| format!("{path}.Queue: must be an ARN"))?;
    let size = properties
        .take("BatchSize")
        .map_or(Ok(10), |size| size.number(1, 10_000))?;
    let window_s = properties
        .take("MaximumBatchingWindowInSeconds")
        .map_or(Ok(0), |window| window.number(0, 300))?;
    ensure!(
        size <= BATCH_SIZE_WITHOUT_WINDOW || window_s >= 1,
        "{path}: BatchSize above {BATCH_SIZE_WITHOUT_WINDOW} needs \
         MaximumBatchingWindowInSeconds of 1 or more"
    );
    let source = Source {
        queue: queue.to_owned(),
        queue_arn: queue_arn.clone(),
        batch_size: usize::try_from(size)?,
        window: Duration::from_secs(window_s),
        reports_failures: reports_failures(properties.take("FunctionResponseTypes"))?,
        concurrency_max: concurrency_max(properties.take("ScalingConfig"))?,
        path,
    };
    properties.finish()?;
    Ok(source)
}

fn reports_failures(types: Option<Node>) -> Result<bool> {
    let Some(types) = types else { return Ok(false) };
    let types = types.items()?;
    let any = !types.is_empty();
    types
        .into_iter()
        .try_for_each(|kind| kind.must_be("ReportBatchItemFailures"))?;
    Ok(any)
}

fn concurrency_max(scaling: Option<Node>) -> Result<Option<usize>> {
    let Some(scaling) = scaling else {
        return Ok(None);
    };
    let mut scaling = scaling.fields()?;
    let most = scaling.need("MaximumConcurrency")?.number(2, 1000)?;
    scaling.finish()?;
    Ok(Some(usize::try_from(most)?))
}

/// Reads a schedule. A disabled one is refused, because its failure would never show.
fn schedule(mut properties: Fields, expression: &str) -> Result<Schedule> {
    let every = rate(properties.need(expression)?)?;
    let input = properties.take("Input").map(|input| -> Result<Value> {
        let path = input.path.clone();
        serde_json::from_str(&input.text()?).with_context(|| format!("{path}: must be JSON"))
    });
    let input = input.transpose()?;
    properties.ignore(&["Description", "Name", "RetryPolicy", "FlexibleTimeWindow"]);
    properties.finish()?;
    Ok(Schedule { every, input })
}

/// Reads an interval such as `rate(1 minute)`. Cron expressions are not understood.
fn rate(expression: Node) -> Result<Duration> {
    let path = expression.path.clone();
    let text = expression.text()?;
    let rate = text
        .strip_prefix("rate(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rate| rate.split_once(' '));
    let unit_s = |unit: &str| match unit.trim_end_matches('s') {
        "minute" => Some(60),
        "hour" => Some(3_600),
        "day" => Some(86_400),
        _ => None,
    };
    let every_s = rate.and_then(|(count, unit)| Some(count.parse::<u64>().ok()? * unit_s(unit)?));
    every_s
        .map(Duration::from_secs)
        .with_context(|| format!("{path}: {text} not understood"))
}
