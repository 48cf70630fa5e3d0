//! The local stack: everything that `template.yaml` deploys, with a wire that can break in front of
//! each store.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::activity::Activity;
use crate::binaries;
use crate::dynamo::Dynamo;
use crate::event_source::{EventSource, Redelivery};
use crate::gateway::Gateway;
use crate::lambda::{Endpoints, InvokeError, Lambda, LogLine, environment};
use crate::loopback::listen;
use crate::schedule::Scheduler;
use crate::sqs::Sqs;
use crate::template::{Function, Given, Plan, Secrets};
use crate::wire::Wire;

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");
/// How long the stack may take to become quiet. No machine is slow enough to need that long.
const DRAIN_LIMIT_S: u64 = 300;
/// How often it is checked whether the stack is quiet.
const DRAIN_LOOK_MS: u64 = 20;

/// What a stack is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Parameters of the template. Those that are missing take their defaults.
    pub parameters: BTreeMap<String, String>,
    pub secrets: Secrets,
    /// Whether the functions run. Without them there are the stores alone, for functions that run
    /// elsewhere.
    pub functions: bool,
    pub redelivery: Option<Redelivery>,
    /// The visibility timeout of all queues, for tests that cannot wait as long as the template
    /// says until the messages of a stopped function come back.
    pub visibility_timeout_s: Option<u64>,
    /// How often a message is received before it is dead-lettered, in place of the template's
    /// number.
    pub receives_max: Option<u64>,
    /// Timeouts of functions, by binary, in place of the template's.
    pub timeouts_s: BTreeMap<String, u64>,
    /// Variables for all functions, in addition to those of the template.
    pub environment: BTreeMap<String, String>,
    /// The port of the front door, or any free one.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            parameters: BTreeMap::new(),
            secrets: Secrets::new(),
            functions: true,
            redelivery: None,
            visibility_timeout_s: None,
            receives_max: None,
            timeouts_s: BTreeMap::new(),
            environment: BTreeMap::new(),
            port: None,
        }
    }
}

/// A running stack.
pub struct Stack {
    pub plan: Plan,
    pub dynamo: Dynamo,
    pub sqs: Arc<Sqs>,
    /// The wire between the functions and DynamoDB.
    pub dynamo_wire: Wire,
    /// The wire between the functions and SQS. The event source does not use it, as on AWS.
    pub sqs_wire: Wire,
    endpoints: Endpoints,
    lambda: Arc<Lambda>,
    gateway: Option<Gateway>,
    sources: Vec<EventSource>,
    scheduler: Option<Scheduler>,
}

impl Stack {
    pub async fn start(options: Options) -> Result<Stack> {
        let sqs_listener = listen(None).await?;
        let sqs_wire = Wire::start(&format!("http://{}", sqs_listener.local_addr()?)).await?;
        let door = match options.functions {
            true => Some(listen(options.port).await?),
            false => None,
        };
        let plan = plan(&options, &sqs_wire, api_url(door.as_ref(), options.port)?)?;
        let dynamo = Dynamo::start(&plan.tables).await?;
        let dynamo_wire = Wire::start(&dynamo.server().url()).await?;
        let sqs = Arc::new(Sqs::start(sqs_listener, &plan.queues).await?);
        let endpoints = Endpoints {
            dynamo_url: dynamo_wire.url(),
            sqs_url: sqs_wire.url(),
        };

        let functions = match options.functions {
            true => plan.functions.as_slice(),
            false => &[],
        };
        let lambda = Arc::new(lambda(functions, &endpoints).await?);
        let sources = sources(functions, &lambda, &sqs, options.redelivery);
        let gateway = door.map(|door| Gateway::start(door, functions, Arc::clone(&lambda)));
        let gateway = gateway.transpose()?;
        let scheduler = Some(Scheduler::start(functions, &lambda));
        Ok(Stack {
            plan,
            dynamo,
            sqs,
            dynamo_wire,
            sqs_wire,
            endpoints,
            lambda,
            gateway,
            sources,
            scheduler,
        })
    }

    /// The URL of the front door. Without functions there is none.
    #[expect(
        clippy::expect_used,
        reason = "a mistake of the test, which ought to stop there"
    )]
    pub fn url(&self) -> String {
        self.gateway
            .as_ref()
            .expect("a stack without functions has no front door")
            .server()
            .url()
    }

    /// The URL of DynamoDB without the wire.
    pub fn dynamo_url(&self) -> String {
        self.dynamo.server().url()
    }

    /// The URL of a queue without the wire.
    pub fn queue_url(&self, queue: &str) -> String {
        self.sqs.queue_url(queue)
    }

    /// Invokes the function that has this binary.
    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, InvokeError> {
        self.lambda.invoke(function, event).await
    }

    /// Sends SIGKILL to every process of the function, and waits until they have ended.
    pub async fn kill_all(&self, function: &str) {
        self.lambda.kill_all(function).await;
    }

    /// How many deliveries of messages beyond the first were made.
    pub fn duplicated(&self) -> usize {
        self.sources.iter().map(EventSource::duplicated).sum()
    }

    /// How many invocations are under way.
    pub fn running(&self) -> usize {
        self.lambda.activity().running()
    }

    /// What the functions have written so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.lambda.logs().lines()
    }

    /// What the functions write from now on.
    pub fn lines(&self) -> broadcast::Receiver<LogLine> {
        self.lambda.logs().subscribe()
    }

    /// The environment of each function, by binary, for functions that run elsewhere.
    pub fn environments(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let functions = self.plan.functions.iter();
        functions
            .map(|function| {
                (
                    function.binary.clone(),
                    environment(function, &self.endpoints),
                )
            })
            .collect()
    }

    /// Waits until no request and no invocation is under way and the queues that invoke functions
    /// are empty.
    pub async fn wait_until_quiet(&self) -> Result<()> {
        let limit = Instant::now() + Duration::from_secs(DRAIN_LIMIT_S);
        while let Some(busy) = self.busy().await? {
            ensure!(
                Instant::now() < limit,
                "not quiet after {DRAIN_LIMIT_S} s: {busy}"
            );
            sleep(Duration::from_millis(DRAIN_LOOK_MS)).await;
        }
        Ok(())
    }

    /// Kills all processes and waits until they have ended.
    pub async fn stop(mut self) {
        self.scheduler = None;
        self.sources.clear();
        self.gateway = None;
        self.lambda.stop().await;
    }

    /// What is still under way, in words; none if nothing is.
    async fn busy(&self) -> Result<Option<String>> {
        let begun = self.begun();
        let running = self
            .activities()
            .map(|(what, activity)| (what, activity.running()));
        let running = running.filter(|(_, running)| *running > 0);
        let mut busy: Vec<String> = running
            .map(|(what, running)| format!("{running} {what}"))
            .collect();
        for source in self
            .plan
            .functions
            .iter()
            .flat_map(|function| &function.sources)
        {
            let counters = self.sqs.counters(&source.queue).await?;
            if !counters.is_empty() {
                busy.push(format!("{}: {counters}", source.queue));
            }
        }
        // What began during these reads may have put something where they had found nothing.
        if begun != self.begun() {
            busy.push("something has just begun".to_owned());
        }
        Ok((!busy.is_empty()).then(|| busy.join(", ")))
    }

    fn begun(&self) -> usize {
        self.activities()
            .map(|(_, activity)| activity.begun())
            .sum()
    }

    fn activities(&self) -> impl Iterator<Item = (&'static str, &Activity)> {
        let requests = self
            .gateway
            .iter()
            .map(|gateway| ("requests", gateway.activity()));
        requests.chain([
            ("invocations", self.lambda.activity()),
            ("requests to DynamoDB", self.dynamo_wire.activity()),
            ("requests to SQS", self.sqs_wire.activity()),
        ])
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.lambda.close();
    }
}

/// The URL of the front door, or of the one that functions elsewhere will have.
fn api_url(door: Option<&TcpListener>, port: Option<u16>) -> Result<String> {
    let address = match (door, port) {
        (Some(door), _) => door.local_addr()?,
        (None, Some(port)) => (Ipv4Addr::LOCALHOST, port).into(),
        (None, None) => return Ok(String::new()),
    };
    Ok(format!("http://{address}"))
}

/// What the template deploys, with the changes that the options ask for.
fn plan(options: &Options, sqs_wire: &Wire, api_url: String) -> Result<Plan> {
    let given = Given {
        parameters: options.parameters.clone(),
        secrets: options.secrets.clone(),
        // Queue URLs lead through the wire too, in case a client ever uses one as an address.
        sqs_url: sqs_wire.url(),
        api_url,
    };
    let template =
        fs::read_to_string(TEMPLATE).with_context(|| format!("{TEMPLATE}: cannot be read"))?;
    let mut plan = Plan::read(&template, &given).context("template.yaml")?;
    for queue in &mut plan.queues {
        if let Some(timeout_s) = options.visibility_timeout_s {
            queue.set_visibility_timeout(timeout_s);
        }
        if let Some(receives_max) = options.receives_max {
            queue.set_receives_max(receives_max);
        }
    }
    for function in &mut plan.functions {
        if let Some(timeout_s) = options.timeouts_s.get(&function.binary) {
            function.timeout_s = *timeout_s;
        }
        function.env.extend(options.environment.clone());
    }
    Ok(plan)
}

/// Lambda with these functions, whose binaries are built if there are any.
async fn lambda(functions: &[Function], endpoints: &Endpoints) -> Result<Lambda> {
    if functions.is_empty() {
        return Lambda::new(functions, &BTreeMap::new(), endpoints);
    }
    let binaries = spawn_blocking(binaries::build).await??;
    Lambda::new(functions, binaries, endpoints)
}

/// Starts the event sources of these functions.
fn sources(
    functions: &[Function],
    lambda: &Arc<Lambda>,
    sqs: &Arc<Sqs>,
    redelivery: Option<Redelivery>,
) -> Vec<EventSource> {
    let start = |function: &Function| -> Vec<_> {
        let sources = function.sources.iter();
        sources
            .map(|source| EventSource::start(source, &function.binary, lambda, sqs, redelivery))
            .collect()
    };
    functions.iter().flat_map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_stores_come_up_as_the_template_says() -> Result<()> {
        let secrets = Secrets::from([("sms-proxy/providers".to_owned(), "{}".to_owned())]);
        let stack = Stack::start(Options {
            secrets,
            functions: false,
            ..Options::default()
        })
        .await?;
        let tables = stack
            .dynamo
            .database
            .list_tables(Default::default())?
            .table_names;
        assert!(
            stack
                .plan
                .tables
                .iter()
                .all(|table| tables.contains(&table.name)),
            "{tables:?}"
        );
        for queue in &stack.plan.queues {
            assert!(stack.sqs.counters(&queue.name).await?.is_empty());
        }
        let send = &stack.environments()["send"];
        assert_eq!(
            send["QUEUE_URL"],
            format!("{}/000000000000/Doorbell", stack.sqs_wire.url())
        );
        assert!(stack.invoke("send", Value::Null).await.is_err());
        stack.wait_until_quiet().await?;
        stack.stop().await;
        Ok(())
    }
}
