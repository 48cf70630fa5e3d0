//! Functions, with what Globals say of all of them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Map, Value};

use super::events::{self, Events, Route, Schedule, Source};
use super::fields::{Fields, Node, join};
use super::resolve;

const PLAYED: &[&str] = &["Environment", "Events", "LoggingConfig", "MemorySize", "Timeout"];
/// What cargo, the architecture of this machine and the lack of permissions on it answer for.
const NOT_PLAYED: &[&str] = &["Architectures", "CodeUri", "Description", "Handler", "Policies", "Runtime", "Tags"];

#[derive(Clone, Debug)]
pub struct Function {
    /// Logical id, which is the function's name on AWS.
    pub id: String,
    /// The binary of this workspace; everything here calls the function by this name.
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

/// The properties that every function has unless it says otherwise.
pub(super) fn globals(globals: Option<Node>) -> Result<Value> {
    let Some(globals) = globals else { return Ok(Value::Object(Map::new())) };
    let mut globals = globals.fields()?;
    let function = globals.take("Function");
    globals.finish()?;
    let Some(function) = function else { return Ok(Value::Object(Map::new())) };
    let properties = function.value.clone();
    // A name unknown here would be reported below under a function that never mentions it.
    for (name, node) in function.entries()? {
        ensure!(
            PLAYED.contains(&name.as_str()) || NOT_PLAYED.contains(&name.as_str()),
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
    properties.ignore(NOT_PLAYED);
    let number = |node: Option<Node>, least, most, default| node.map_or(Ok(default), |node| node.number(least, most));
    let Events { routes, sources, schedules } = events::read(properties.take("Events"))?;
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

/// Maps are merged name by name; in everything else the function's own value replaces the global one.
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
    let Some(node) = node else { return Ok(BTreeMap::new()) };
    let mut fields = node.fields()?;
    let variables = fields.need("Variables")?.entries()?;
    fields.finish()?;
    variables.into_iter().map(|(name, value)| Ok((name, value.text()?))).collect()
}

fn log_format(node: Option<Node>) -> Result<String> {
    let Some(node) = node else { return Ok("Text".to_owned()) };
    let path = node.path.clone();
    let mut fields = node.fields()?;
    fields.ignore(&["LogGroup", "SystemLogLevel"]);
    let format = fields.take("LogFormat").map_or(Ok("Text".to_owned()), Node::text)?;
    fields.finish()?;
    ensure!(["JSON", "Text"].contains(&format.as_str()), "{}: {format} not understood", join(&path, "LogFormat"));
    Ok(format)
}
