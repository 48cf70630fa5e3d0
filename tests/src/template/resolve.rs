//! Resolves parameters, references and intrinsic functions.
//!
//! The name of a resource here is its logical id, so references need no order of creation.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::fields::{Node, join};
use super::{ACCOUNT, Given, REGION, Secrets, parameters};

/// The beginning of the only dynamic reference that is understood:
/// `{{resolve:secretsmanager:NAME:SecretString}}`, which gives the whole text.
const SECRET: &str = "{{resolve:secretsmanager:";

/// Everything to which the template can refer.
pub(super) struct Names {
    parameters: BTreeMap<String, String>,
    /// The types of the resources, by logical id.
    resources: BTreeMap<String, String>,
    secrets: Secrets,
    sqs_url: String,
    api_url: String,
}

impl Names {
    pub(super) fn new(parameters: Option<Node>, resources: &Node, given: &Given) -> Result<Names> {
        let resources = resources
            .value
            .as_object()
            .context("Resources: must be a map")?;
        let kind = |resource: &Value| resource["Type"].as_str().unwrap_or_default().to_owned();
        Ok(Names {
            parameters: parameters::read(parameters, &given.parameters)?,
            resources: resources
                .iter()
                .map(|(id, resource)| (id.clone(), kind(resource)))
                .collect(),
            secrets: given.secrets.clone(),
            sqs_url: given.sqs_url.clone(),
            api_url: given.api_url.clone(),
        })
    }

    pub(super) fn resolve(&self, node: Node) -> Result<Node> {
        let value = self.value(&node.path, node.value)?;
        Ok(Node::new(node.path, value))
    }

    fn value(&self, path: &str, value: Value) -> Result<Value> {
        match value {
            Value::Object(object) => match intrinsic(&object) {
                Some((name, argument)) => self
                    .with_secrets(path, &self.evaluate(path, name, argument)?)
                    .map(Value::String),
                None => self.entries(path, object).map(Value::Object),
            },
            Value::Array(items) => {
                let item = |(at, value)| self.value(&format!("{path}[{at}]"), value);
                items
                    .into_iter()
                    .enumerate()
                    .map(item)
                    .collect::<Result<_>>()
                    .map(Value::Array)
            }
            Value::String(text) => self.with_secrets(path, &text).map(Value::String),
            scalar => Ok(scalar),
        }
    }

    fn entries(&self, path: &str, object: Map<String, Value>) -> Result<Map<String, Value>> {
        let entry = |(name, value): (String, Value)| {
            let value = self.value(&join(path, &name), value)?;
            Ok((name, value))
        };
        object.into_iter().map(entry).collect()
    }

    /// The value of an intrinsic function.
    fn evaluate(&self, path: &str, name: &str, argument: &Value) -> Result<String> {
        let parts = argument.as_array().map(Vec::as_slice);
        match (name, argument, parts) {
            ("Ref", Value::String(name), _) => self.reference(path, name),
            ("Fn::GetAtt", _, Some([Value::String(id), Value::String(attribute)])) => {
                self.attribute(path, id, attribute)
            }
            ("Fn::Sub", Value::String(text), _) => self.substitute(path, text, &Map::new()),
            ("Fn::Sub", _, Some([Value::String(text), Value::Object(own)])) => {
                self.substitute(path, text, &self.entries(path, own.clone())?)
            }
            ("Fn::Join", _, Some([Value::String(separator), Value::Array(parts)])) => {
                let part = |part: &Value| Node::new(path, self.value(path, part.clone())?).text();
                Ok(parts
                    .iter()
                    .map(part)
                    .collect::<Result<Vec<_>>>()?
                    .join(separator))
            }
            _ => bail!("{path}: {name} not understood"),
        }
    }

    fn reference(&self, path: &str, name: &str) -> Result<String> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone());
        }
        Ok(match name {
            "AWS::Region" => REGION.to_owned(),
            "AWS::AccountId" => ACCOUNT.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::StackName" => "local".to_owned(),
            _ => match self.kind(path, name)? {
                "AWS::SQS::Queue" => self.queue_url(name),
                _ => name.to_owned(),
            },
        })
    }

    fn attribute(&self, path: &str, id: &str, attribute: &str) -> Result<String> {
        match (self.kind(path, id)?, attribute) {
            ("AWS::DynamoDB::Table", "Arn") => Ok(arn("dynamodb", &format!("table/{id}"))),
            ("AWS::SQS::Queue", "Arn") => Ok(arn("sqs", id)),
            ("AWS::SQS::Queue", "QueueName") => Ok(id.to_owned()),
            ("AWS::SQS::Queue", "QueueUrl") => Ok(self.queue_url(id)),
            ("AWS::Serverless::HttpApi", "ApiEndpoint") => Ok(self.api_url.clone()),
            ("AWS::Serverless::Function", "Arn") => Ok(function_arn(id)),
            // Only ignored resources refer to ignored resources, so any ARN will do.
            (kind, "Arn") if super::IGNORED.contains(&kind) => Ok(arn("local", id)),
            (kind, _) => bail!("{path}: {attribute} of {id}, a {kind}, not understood"),
        }
    }

    fn kind(&self, path: &str, id: &str) -> Result<&str> {
        let kind = self
            .resources
            .get(id)
            .with_context(|| format!("{path}: there is no {id}"))?;
        Ok(kind)
    }

    fn queue_url(&self, queue: &str) -> String {
        format!("{}/{ACCOUNT}/{queue}", self.sqs_url)
    }

    /// Replaces `${Name}` and `${Name.Attribute}`, and makes `${!Name}` the literal `${Name}`.
    fn substitute(&self, path: &str, text: &str, own: &Map<String, Value>) -> Result<String> {
        replace(path, text, "${", "}", |name| {
            match (own.get(name), name.split_once('.')) {
                (Some(value), _) => Node::new(path, value.clone()).text(),
                _ if name.starts_with('!') => Ok(format!("${{{}}}", &name[1..])),
                (None, Some((id, attribute))) => self.attribute(path, id, attribute),
                (None, None) => self.reference(path, name),
            }
        })
    }

    fn with_secrets(&self, path: &str, text: &str) -> Result<String> {
        replace(path, text, SECRET, "}}", |reference| {
            let parts: Vec<&str> = reference.split(':').collect();
            let [name, "SecretString"] = parts.as_slice() else {
                bail!("{path}: {SECRET}{reference}}}}} not understood")
            };
            self.secrets
                .get(*name)
                .cloned()
                .with_context(|| format!("{path}: no secret {name} was given"))
        })
    }
}

pub(super) fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

pub(super) fn function_arn(id: &str) -> String {
    arn("lambda", &format!("function:{id}"))
}

fn intrinsic(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = object.iter().next().filter(|_| object.len() == 1)?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name, argument))
}

/// Replaces every `{open}name{close}` by the `value` of its name.
fn replace(
    path: &str,
    text: &str,
    open: &str,
    close: &str,
    value: impl Fn(&str) -> Result<String>,
) -> Result<String> {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let (name, after) = after
            .split_once(close)
            .with_context(|| format!("{path}: {open} without {close}"))?;
        replaced.push_str(before);
        replaced.push_str(&value(name)?);
        rest = after;
    }
    Ok(replaced + rest)
}
