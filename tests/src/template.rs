//! Reads `template.yaml`, and makes a plan of it that the local stack can carry out.
//!
//! The tests are worth as much as the stack on which they run. So the stack has no description of
//! its own; it is read from the file that is deployed. What means something on this machine
//! (tables, queues, functions and what invokes them) becomes part of a [`Plan`]. What does not is
//! listed by name in these modules. Everything else, be it a resource, a property or an intrinsic
//! function, is an error that names its path: nothing is skipped in silence.

mod events;
mod fields;
mod functions;
mod parameters;
mod resolve;
mod stores;
mod yaml;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

pub use events::{Route, Schedule, Source};
use fields::{Fields, Node};
pub use functions::Function;
use resolve::Names;
pub use stores::{Attribute, Index, Key, Queue, Table};

pub const REGION: &str = "eu-central-1";
pub const ACCOUNT: &str = "000000000000";

/// Types of resources that mean something only on AWS: permissions, alarms, notifications and
/// dashboards.
const IGNORED: &[&str] = &[
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::Logs::MetricFilter",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
];

/// What a deployment gets from outside the template.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Values of the template's parameters. Those that are missing take their defaults.
    pub parameters: BTreeMap<String, String>,
    pub secrets: Secrets,
    /// The address of SQS without a slash at the end. Queue URLs begin with it.
    pub sqs_url: String,
    /// The address of the HTTP API, likewise.
    pub api_url: String,
}

/// The texts of the secrets in Secrets Manager, by name.
pub type Secrets = BTreeMap<String, String>;

/// What the template deploys, as far as it means something on this machine.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub tables: Vec<Table>,
    pub queues: Vec<Queue>,
    pub functions: Vec<Function>,
}

impl Plan {
    pub fn read(template: &str, given: &Given) -> Result<Plan> {
        let mut template = Node::new("", yaml::read(template)?).fields()?;
        template.ignore(&[
            "AWSTemplateFormatVersion",
            "Transform",
            "Description",
            "Metadata",
        ]);
        let resources = template.need("Resources")?;
        let names = Names::new(template.take("Parameters"), &resources, given)?;
        let resources = names.resolve(resources)?;
        let globals = template
            .take("Globals")
            .map(|globals| names.resolve(globals))
            .transpose()?;
        // Nothing reads the outputs, but a broken reference in them would fail the deployment.
        template
            .take("Outputs")
            .map(|outputs| names.resolve(outputs))
            .transpose()?;
        template.finish()?;

        let globals = functions::globals(globals)?;
        let mut plan = Plan::default();
        let mut apis = Vec::new();
        for (id, resource) in resources.entries()? {
            plan.add(id, resource, &globals, &mut apis)?;
        }
        ensure!(
            apis.len() <= 1,
            "Resources: the local stack has one HTTP API, not {}",
            apis.join(" and ")
        );
        plan.check_sources()?;
        Ok(plan)
    }

    pub fn function(&self, binary: &str) -> Result<&Function> {
        let found = self
            .functions
            .iter()
            .find(|function| function.binary == binary);
        found.with_context(|| format!("template.yaml has no function {binary}"))
    }

    fn add(
        &mut self,
        id: String,
        resource: Node,
        globals: &Value,
        apis: &mut Vec<String>,
    ) -> Result<()> {
        let path = resource.path.clone();
        let mut resource = resource.fields()?;
        let kind = resource.need("Type")?.text()?;
        resource.ignore(&["DeletionPolicy", "UpdateReplacePolicy", "DependsOn"]);
        match kind.as_str() {
            "AWS::DynamoDB::Table" => self.tables.push(stores::table(id, resource)?),
            "AWS::SQS::Queue" => self.queues.push(stores::queue(id, resource)?),
            "AWS::Serverless::Function" => {
                self.functions.push(functions::read(id, resource, globals)?)
            }
            "AWS::Serverless::HttpApi" => {
                http_api(resource)?;
                apis.push(id);
            }
            kind if IGNORED.contains(&kind) => {}
            kind => bail!("{path}: {kind} not understood"),
        }
        Ok(())
    }

    /// Checks what AWS checks: messages must not come back while the function may still work on
    /// them.
    fn check_sources(&self) -> Result<()> {
        for function in &self.functions {
            for source in &function.sources {
                let path = &source.path;
                let queue = self.queues.iter().find(|queue| queue.name == source.queue);
                let queue =
                    queue.with_context(|| format!("{path}: there is no queue {}", source.queue))?;
                ensure!(
                    queue.visibility_timeout_s() >= function.timeout_s,
                    "{path}: {}'s VisibilityTimeout of {} s is shorter than \
                     the function's Timeout of {} s",
                    queue.name,
                    queue.visibility_timeout_s(),
                    function.timeout_s
                );
            }
        }
        Ok(())
    }
}

fn http_api(mut resource: Fields) -> Result<()> {
    if let Some(properties) = resource.take("Properties") {
        let mut properties = properties.fields()?;
        properties.ignore(&[
            "Description",
            "AccessLogSettings",
            "DefaultRouteSettings",
            "FailOnWarnings",
            "Tags",
        ]);
        properties.finish()?;
    }
    resource.finish()
}

#[cfg(test)]
mod tests;
