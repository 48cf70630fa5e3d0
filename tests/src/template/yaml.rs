//! Turns YAML into JSON, and CloudFormation's short tags (`!Ref`, `!GetAtt`, …) into their long
//! forms, so that only one form has to be resolved.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

pub(super) fn read(text: &str) -> Result<Value> {
    json(serde_yaml_ng::from_str(text)?)
}

fn json(yaml: Yaml) -> Result<Value> {
    Ok(match yaml {
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(json).collect::<Result<_>>()?),
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (name, value) in entries {
                let Yaml::String(name) = name else {
                    bail!("a key that is not a string: {name:?}")
                };
                object.insert(name, json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => long_form(&tagged.tag.to_string(), json(tagged.value)?),
        scalar => serde_json::to_value(scalar)?,
    })
}

fn long_form(tag: &str, argument: Value) -> Value {
    let name = tag.trim_start_matches('!');
    match (name, &argument) {
        ("Ref" | "Condition", _) => json!({ name: argument }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((path, ""));
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        _ => json!({ format!("Fn::{name}"): argument }),
    }
}
