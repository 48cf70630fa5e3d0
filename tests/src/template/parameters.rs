//! Reads the template's parameters: their defaults, the values given instead, and the checks that
//! AWS makes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::fields::Node;

type Parameters = BTreeMap<String, String>;

pub(super) fn read(declared: Option<Node>, given: &Parameters) -> Result<Parameters> {
    let mut parameters = Parameters::new();
    if let Some(declared) = declared {
        for (name, parameter) in declared.entries()? {
            let value = one(parameter, given.get(&name))?;
            parameters.insert(name, value);
        }
    }
    match given.keys().find(|name| !parameters.contains_key(*name)) {
        Some(unknown) => {
            bail!("Parameters.{unknown}: given, but the template has no such parameter")
        }
        None => Ok(parameters),
    }
}

fn one(parameter: Node, given: Option<&String>) -> Result<String> {
    let path = parameter.path.clone();
    let mut fields = parameter.fields()?;
    let kind = fields.need("Type")?.text()?;
    let default = fields.take("Default").map(Node::text).transpose()?;
    let value = given
        .cloned()
        .or(default)
        .with_context(|| format!("{path}: has no default and was not given"))?;
    let least = fields
        .take("MinValue")
        .map(|least| least.number(0, u64::MAX))
        .transpose()?;
    let most = fields
        .take("MaxValue")
        .map(|most| most.number(0, u64::MAX))
        .transpose()?;
    match kind.as_str() {
        "String" => {}
        "Number" => {
            Node::new(path, Value::String(value.clone()))
                .number(least.unwrap_or(0), most.unwrap_or(u64::MAX))?;
        }
        kind => bail!("{path}: a parameter of type {kind} not understood"),
    }
    // Patterns are not checked: the functions check their configuration themselves, and AWS's own
    // check may differ from a second one here.
    fields.ignore(&[
        "Description",
        "AllowedPattern",
        "ConstraintDescription",
        "NoEcho",
    ]);
    fields.finish()?;
    Ok(value)
}
