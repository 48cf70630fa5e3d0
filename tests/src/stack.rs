//! The whole of it: what `template.yaml` deploys, on this machine, with a wire that can break in front of each store.

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
use crate::event_source::{EventSource, Mischief};
use crate::gateway::Gateway;
use crate::lambda::{Endpoints, InvokeError, Lambda, Line, environment};
use crate::loopback::listen;
use crate::schedule::Clock;
use crate::sqs::Sqs;
use crate::template::{Given, Plan, Secrets};
use crate::wire::Wire;

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");
/// What has not come to rest by then never will; no machine is that slow.
const DRAIN_LIMIT_S: u64 = 300;
const DRAIN_LOOK_MS: u64 = 20;

#[derive(Clone, Debug)]
pub struct Options {
    /// For the template; what is missing takes its default.
    pub parameters: BTreeMap<String, String>,
    pub secrets: Secrets,
    /// Without them there are the stores alone, for functions that somebody else runs.
    pub functions: bool,
    pub mischief: Option<Mischief>,
    /// Instead of the template's, for tests that cannot wait so long until a dead consumer's messages come back.
    pub visibility_timeout_s: Option<u64>,
    /// How often a message is received before it is dead, in place of the template's.
    pub receives_max: Option<u64>,
    /// Of functions, by binary, in place of the template's.
    pub timeouts_s: BTreeMap<String, u64>,
    /// For all functions, beside what the template gives them.
    pub environment: BTreeMap<String, String>,
    /// Of the front door; any free one if not given.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            parameters: BTreeMap::new(),
            secrets: Secrets::new(),
            functions: true,
            mischief: None,
            visibility_timeout_s: None,
            receives_max: None,
            timeouts_s: BTreeMap::new(),
            environment: BTreeMap::new(),
            port: None,
        }
    }
}

pub struct Stack {
    pub plan: Plan,
    pub dynamo: Dynamo,
    pub sqs: Arc<Sqs>,
    /// Between the functions and DynamoDB.
    pub dynamo_wire: Wire,
    /// Between the functions and SQS. The event source has a line of its own, as on AWS.
    pub sqs_wire: Wire,
    endpoints: Endpoints,
    lambda: Arc<Lambda>,
    gateway: Option<Gateway>,
    sources: Vec<EventSource>,
    clock: Option<Clock>,
}

impl Stack {
    pub async fn start(options: Options) -> Result<Stack> {
        let sqs_listener = listen(None).await?;
        let sqs_wire = Wire::start(&format!("http://{}", sqs_listener.local_addr()?)).await?;
        let door = if options.functions { Some(listen(options.port).await?) } else { None };
        let door_address = door.as_ref().map(TcpListener::local_addr).transpose()?;
        let api_url = door_address.or(options.port.map(|port| (Ipv4Addr::LOCALHOST, port).into()));
        let given = Given {
            parameters: options.parameters,
            secrets: options.secrets,
            // Queue URLs lead through the wire too, should a client ever follow one.
            sqs_url: sqs_wire.url(),
            api_url: api_url.map(|address| format!("http://{address}")).unwrap_or_default(),
        };
        let template = fs::read_to_string(TEMPLATE).with_context(|| format!("{TEMPLATE}: cannot be read"))?;
        let mut plan = Plan::read(&template, &given).context("template.yaml")?;
        if let Some(timeout_s) = options.visibility_timeout_s {
            plan.queues.iter_mut().for_each(|queue| queue.set_visibility_timeout(timeout_s));
        }
        if let Some(receives_max) = options.receives_max {
            plan.queues.iter_mut().for_each(|queue| queue.set_receives_max(receives_max));
        }
        for function in &mut plan.functions {
            function.timeout_s = options.timeouts_s.get(&function.binary).copied().unwrap_or(function.timeout_s);
            function.env.extend(options.environment.clone());
        }
        let dynamo = Dynamo::start(&plan.tables).await?;
        let dynamo_wire = Wire::start(&dynamo.server().url()).await?;
        let sqs = Arc::new(Sqs::start(sqs_listener, &plan.queues).await?);
        let endpoints = Endpoints { dynamo_url: dynamo_wire.url(), sqs_url: sqs_wire.url() };

        let played = if options.functions { plan.functions.as_slice() } else { &[] };
        let binaries = if options.functions { spawn_blocking(binaries::build).await?? } else { &BTreeMap::new() };
        let lambda = Arc::new(Lambda::new(played, binaries, &endpoints)?);
        let sources = played.iter().flat_map(|function| function.sources.iter().map(move |source| (function, source)));
        let sources = sources
            .map(|(function, source)| EventSource::start(source, &function.binary, &lambda, &sqs, options.mischief))
            .collect();
        let gateway = door.map(|door| Gateway::start(door, played, Arc::clone(&lambda))).transpose()?;
        let clock = Clock::start(played, &lambda);
        Ok(Stack { plan, dynamo, sqs, dynamo_wire, sqs_wire, endpoints, lambda, gateway, sources, clock: Some(clock) })
    }

    /// Of the front door. There is none without functions.
    #[expect(clippy::expect_used, reason = "a mistake of the test, which ought to stop there")]
    pub fn url(&self) -> String {
        self.gateway.as_ref().expect("a stack without functions has no front door").server().url()
    }

    /// Past the wire.
    pub fn dynamo_url(&self) -> String {
        self.dynamo.server().url()
    }

    /// Past the wire.
    pub fn queue_url(&self, queue: &str) -> String {
        self.sqs.queue_url(queue)
    }

    /// The function is named by its binary.
    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, InvokeError> {
        self.lambda.invoke(function, event).await
    }

    /// SIGKILL for every process of the function.
    pub async fn kill_all(&self, function: &str) {
        self.lambda.kill_all(function).await;
    }

    /// Deliveries of queued messages beyond the first of each.
    pub fn duplicated(&self) -> usize {
        self.sources.iter().map(EventSource::duplicated).sum()
    }

    /// Invocations under way.
    pub fn running(&self) -> usize {
        self.lambda.activity().running()
    }

    /// What the functions have written so far.
    pub fn logs(&self) -> Vec<Line> {
        self.lambda.logs().lines()
    }

    /// What the functions write from now on.
    pub fn lines(&self) -> broadcast::Receiver<Line> {
        self.lambda.logs().subscribe()
    }

    /// What each function finds in its environment, by binary, for those who run one by themselves.
    pub fn environments(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let functions = self.plan.functions.iter();
        functions.map(|function| (function.binary.clone(), environment(function, &self.endpoints))).collect()
    }

    /// Waits until no request and no invocation is under way and the queues that functions consume are empty.
    pub async fn quiet(&self) -> Result<()> {
        let limit = Instant::now() + Duration::from_secs(DRAIN_LIMIT_S);
        while let Some(busy) = self.busy().await? {
            ensure!(Instant::now() < limit, "not quiet after {DRAIN_LIMIT_S} s: {busy}");
            sleep(Duration::from_millis(DRAIN_LOOK_MS)).await;
        }
        Ok(())
    }

    /// Kills all processes and waits until they are gone.
    pub async fn stop(mut self) {
        self.clock = None;
        self.sources.clear();
        self.gateway = None;
        self.lambda.stop().await;
    }

    /// What is still going on, for a reader.
    async fn busy(&self) -> Result<Option<String>> {
        let begun = self.begun();
        let running = self.activities().map(|(what, activity)| (what, activity.running()));
        let running = running.filter(|(_, running)| *running > 0);
        let mut busy: Vec<String> = running.map(|(what, running)| format!("{running} {what}")).collect();
        for source in self.plan.functions.iter().flat_map(|function| &function.sources) {
            let counters = self.sqs.counters(&source.queue).await?;
            if !counters.is_empty() {
                busy.push(format!("{}: {counters}", source.queue));
            }
        }
        // What began while we looked may have put something where we had looked already.
        if begun != self.begun() {
            busy.push("something has just begun".to_owned());
        }
        Ok((!busy.is_empty()).then(|| busy.join(", ")))
    }

    fn begun(&self) -> usize {
        self.activities().map(|(_, activity)| activity.begun()).sum()
    }

    fn activities(&self) -> impl Iterator<Item = (&'static str, &Activity)> {
        let requests = self.gateway.iter().map(|gateway| ("requests", gateway.activity()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_stores_come_up_as_the_template_says() -> Result<()> {
        let secrets = Secrets::from([("sms-proxy/providers".to_owned(), "{}".to_owned())]);
        let stack = Stack::start(Options { secrets, functions: false, ..Options::default() }).await?;
        let tables = stack.dynamo.database.list_tables(Default::default())?.table_names;
        assert!(stack.plan.tables.iter().all(|table| tables.contains(&table.name)), "{tables:?}");
        for queue in &stack.plan.queues {
            assert!(stack.sqs.counters(&queue.name).await?.is_empty());
        }
        let send = &stack.environments()["send"];
        assert_eq!(send["QUEUE_URL"], format!("{}/000000000000/Doorbell", stack.sqs_wire.url()));
        assert!(stack.invoke("send", Value::Null).await.is_err());
        stack.quiet().await?;
        stack.stop().await;
        Ok(())
    }
}
