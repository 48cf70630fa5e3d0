//! Reads tables and queues.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::fields::{Fields, Node};
use super::resolve;

const VISIBILITY_TIMEOUT: &str = "VisibilityTimeout";
/// The visibility timeout of SQS if the template has none.
const VISIBILITY_TIMEOUT_S: u64 = 30;

/// A table. Its parts serialize to those of a CreateTable request, which checks what they mean.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub attributes: Vec<Attribute>,
    pub keys: Vec<Key>,
    pub indexes: Vec<Index>,
    /// The attribute that says when an item expires.
    pub ttl: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    pub attribute_name: String,
    pub attribute_type: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Key {
    pub attribute_name: String,
    pub key_type: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Index {
    pub index_name: String,
    pub key_schema: Vec<Key>,
    pub projection: Value,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    pub name: String,
    pub arn: String,
    /// Attributes of a CreateQueue request.
    pub attributes: BTreeMap<String, String>,
}

impl Queue {
    pub fn visibility_timeout_s(&self) -> u64 {
        let timeout = self
            .attributes
            .get(VISIBILITY_TIMEOUT)
            .and_then(|timeout| timeout.parse().ok());
        timeout.unwrap_or(VISIBILITY_TIMEOUT_S)
    }

    /// Sets how often a message is received before it is dead-lettered, if the queue has a
    /// dead-letter queue.
    pub fn set_receives_max(&mut self, receives_max: u64) {
        let Some(text) = self.attributes.get_mut("RedrivePolicy") else {
            return;
        };
        if let Ok(mut policy) = serde_json::from_str::<Value>(text) {
            policy["maxReceiveCount"] = receives_max.into();
            *text = policy.to_string();
        }
    }

    pub fn set_visibility_timeout(&mut self, timeout_s: u64) {
        self.attributes
            .insert(VISIBILITY_TIMEOUT.to_owned(), timeout_s.to_string());
    }
}

pub(super) fn table(id: String, mut resource: Fields) -> Result<Table> {
    let mut properties = resource.need("Properties")?.fields()?;
    resource.finish()?;
    properties.need("BillingMode")?.must_be("PAY_PER_REQUEST")?;
    let table = Table {
        name: id,
        attributes: list(properties.take("AttributeDefinitions"), attribute)?,
        keys: list(properties.take("KeySchema"), key)?,
        indexes: list(properties.take("GlobalSecondaryIndexes"), index)?,
        ttl: properties
            .take("TimeToLiveSpecification")
            .map(ttl)
            .transpose()?
            .flatten(),
    };
    properties.ignore(&[
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "DeletionProtectionEnabled",
        "Tags",
    ]);
    properties.finish()?;
    Ok(table)
}

pub(super) fn queue(id: String, mut resource: Fields) -> Result<Queue> {
    let mut attributes = BTreeMap::new();
    if let Some(properties) = resource.take("Properties") {
        let mut properties = properties.fields()?;
        for (name, most) in [
            ("DelaySeconds", 900),
            ("MaximumMessageSize", 1_048_576),
            ("MessageRetentionPeriod", 1_209_600),
            ("ReceiveMessageWaitTimeSeconds", 20),
            (VISIBILITY_TIMEOUT, 43_200),
        ] {
            if let Some(number) = properties.take(name) {
                attributes.insert(name.to_owned(), number.number(0, most)?.to_string());
            }
        }
        if let Some(policy) = properties.take("RedrivePolicy") {
            attributes.insert("RedrivePolicy".to_owned(), redrive(policy)?);
        }
        properties.ignore(&[
            "SqsManagedSseEnabled",
            "KmsMasterKeyId",
            "RedriveAllowPolicy",
            "Tags",
        ]);
        properties.finish()?;
    }
    resource.finish()?;
    Ok(Queue {
        arn: resolve::arn("sqs", &id),
        name: id,
        attributes,
    })
}

fn redrive(policy: Node) -> Result<String> {
    let mut policy = policy.fields()?;
    let target = policy.need("deadLetterTargetArn")?.text()?;
    // The embedded SQS accepts the count only as a number.
    let count = policy.need("maxReceiveCount")?.number(1, 1000)?;
    policy.finish()?;
    Ok(json!({ "deadLetterTargetArn": target, "maxReceiveCount": count }).to_string())
}

fn list<T>(node: Option<Node>, read: impl Fn(Fields) -> Result<T>) -> Result<Vec<T>> {
    let Some(node) = node else {
        return Ok(Vec::new());
    };
    node.items()?
        .into_iter()
        .map(|item| read(item.fields()?))
        .collect()
}

fn attribute(mut fields: Fields) -> Result<Attribute> {
    let attribute_name = fields.need("AttributeName")?.text()?;
    let attribute_type = fields.need("AttributeType")?.text()?;
    fields.finish()?;
    Ok(Attribute {
        attribute_name,
        attribute_type,
    })
}

fn key(mut fields: Fields) -> Result<Key> {
    let attribute_name = fields.need("AttributeName")?.text()?;
    let key_type = fields.need("KeyType")?.text()?;
    fields.finish()?;
    Ok(Key {
        attribute_name,
        key_type,
    })
}

fn index(mut fields: Fields) -> Result<Index> {
    let index_name = fields.need("IndexName")?.text()?;
    let key_schema = list(fields.take("KeySchema"), key)?;
    let projection = fields.need("Projection")?.value;
    fields.finish()?;
    Ok(Index {
        index_name,
        key_schema,
        projection,
    })
}

fn ttl(specification: Node) -> Result<Option<String>> {
    let mut fields = specification.fields()?;
    let attribute = fields.need("AttributeName")?.text()?;
    let enabled = fields.need("Enabled")?.flag()?;
    fields.finish()?;
    Ok(enabled.then_some(attribute))
}
