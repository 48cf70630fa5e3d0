//! Reads functions, with the properties that `Globals` gives all of them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Map, Value};

use super::events::{self, Events, Route, Schedule, Source};
use super::fields::{Fields, Node, join};
use super::resolve;

/// The properties that are read.
const READ: &[&str] = &[
    "Environment",
    "Events",
    "LoggingConfig",
    "MemorySize",
    "Timeout",
];
/// The properties that mean nothing here: cargo builds the binaries, and there are no permissions.
const IGNORED: &[&str] = &[
    "Architectures",
    "CodeUri",
    "Description",
    "Handler",
    "Policies",
    "Runtime",
    "Tags",
];

/// A function of the template.
#[derive(Clone, Debug)]
pub struct Function {
    /// The logical id, which is also the function's name here.
    pub id: String,
    /// The binary of this workspace. The stack names the function by it.
    pub binary: String,
    pub arn: String,
    pub timeout_s: u64,
    pub memory_mb: u64,
    pub log_format: String,
    pub env: BTreeMap<String, String>,
    pub routes: Vec<Route>,
    pub sources: Vec<Source>,
    pub schedules: Vec<Schedule>,
}

/// The properties that every function has unless it has its own.
pub(super) fn globals(globals: Option<Node>) -> Result<Value> {
    let Some(globals) = globals else {
        return Ok(Value::Object(Map::new()));
    };
    let mut globals = globals.fields()?;
    let function = globals.take("Function");
    globals.finish()?;
    let Some(function) = function else {
        return Ok(Value::Object(Map::new()));
    };
    let properties = function.value.clone();
    // Later, an unknown name would be reported with the path of a function that does not mention
    // it.
    for (name, node) in function.entries()? {
        ensure!(
            READ.contains(&name.as_str()) || IGNORED.contains(&name.as_str()),
            "{}: not understood",
            node.path
        );
    }
    Ok(properties)
}

pub(super) fn read(id: String, mut resource: Fields, globals: &Value) -> Result<Function> {
    let binary = binary(resource.need("Metadata")?)?;
    let Node { path, value } = resource.need("Properties")?;
    resource.finish()?;

    let mut properties = Node::new(path.clone(), merged(globals.clone(), value)).fields()?;
    properties.ignore(IGNORED);
    let number = |node: Option<Node>, least, most, default| {
        node.map_or(Ok(default), |node| node.number(least, most))
    };
    let Events {
        routes,
        sources,
        schedules,
    } = events::read(properties.take("Events"))?;
    let function = Function {
        arn: resolve::function_arn(&id),
        id,
        binary,
        timeout_s: number(properties.take("Timeout"), 1, 900, 3)?,
        memory_mb: number(properties.take("MemorySize"), 128, 10_240, 128)?,
        log_format: log_format(properties.take("LoggingConfig"))?,
        env: environment(properties.take("Environment"))?,
        routes,
        sources,
        schedules,
    };
    properties.finish()?;
    Ok(function)
}

fn binary(metadata: Node) -> Result<String> {
    let mut metadata = metadata.fields()?;
    metadata.need("BuildMethod")?.must_be("rust-cargolambda")?;
    let mut build = metadata.need("BuildProperties")?.fields()?;
    metadata.finish()?;
    let binary = build.need("Binary")?.text()?;
    build.finish()?;
    Ok(binary)
}

/// Merges maps name by name. Any other value of the function replaces the global one.
fn merged(global: Value, own: Value) -> Value {
    match (global, own) {
        (Value::Object(mut global), Value::Object(own)) => {
            for (name, value) in own {
                let value = match global.remove(&name) {
                    Some(before) => merged(before, value),
                    None => value,
                };
                global.insert(name, value);
            }
            Value::Object(global)
        }
        (_, own) => own,
    }
}

fn environment(node: Option<Node>) -> Result<BTreeMap<String, String>> {
    let Some(node) = node else {
        return Ok(BTreeMap::new());
    };
    let mut fields = node.fields()?;
    let variables = fields.need("Variables")?.entries()?;
    fields.finish()?;
    variables
        .into_iter()
        .map(|(name, value)| Ok((name, value.text()?)))
        .collect()
}

fn log_format(node: Option<Node>) -> Result<String> {
    let Some(node) = node else {
        return Ok("Text".to_owned());
    };
    let path = node.path.clone();
    let mut fields = node.fields()?;
    fields.ignore(&["LogGroup", "SystemLogLevel"]);
    let format = fields
        .take("LogFormat")
        .map_or(Ok("Text".to_owned()), Node::text)?;
    fields.finish()?;
    ensure!(
        ["JSON", "Text"].contains(&format.as_str()),
        "{}: {format} not understood",
        join(&path, "LogFormat")
    );
    Ok(format)
}
