//! `cargo local`: the whole product on this machine.

#![allow(clippy::print_stdout, reason = "a command line speaks to its standard output")]

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use tests::demo::{self, Pace};
use tests::others::Other;
use tests::scene::{Scene, Settings};
use tokio::signal::ctrl_c;
use tokio::sync::broadcast::error::RecvError;

/// Runs the SMS proxy on this machine: the functions that would be deployed, DynamoDB, SQS, API Gateway, and a
/// simulated FastSMSing. Everything is in memory and ends with Ctrl-C.
#[derive(Parser)]
#[command(name = "cargo local", bin_name = "cargo local")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    deployment: Deployment,
    /// Port of the front door, or with --no-functions the one that `cargo lambda watch` shall have
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Only the stores and the provider, for `cargo lambda watch`
    #[arg(long)]
    no_functions: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Posts messages at a human pace and shows what they cost
    Demo {
        /// How many
        #[arg(long, default_value_t = 1000)]
        messages: usize,
        /// How many a second, on average
        #[arg(long, default_value_t = 50.0)]
        rate: f64,
        /// What the arrivals are drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print one JSON line instead of the table
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Deployment {
    /// Seconds a message may wait for others to share its request
    #[arg(long, global = true, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=900))]
    window: u32,
    /// Messages in a full batch
    #[arg(long, global = true, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    batch: u64,
    /// Providers that share the batches, each with its own invoice
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=9))]
    providers: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut settings = Settings {
        window_s: arguments.deployment.window,
        batch_size: usize::try_from(arguments.deployment.batch)?,
        ..Settings::default()
    };
    settings.fastsmsing.batch_size_max = settings.batch_size;
    let more = (2..=arguments.deployment.providers).map(|n| Other {
        batch_size: settings.batch_size,
        options: settings.fastsmsing.clone(),
        ..Other::fastsmsing(&format!("fastsmsing-{n}"))
    });
    settings.others = more.collect();
    // Ctrl-C ends this future; the scene's drop ends everything it started.
    tokio::select! {
        ended = play(arguments, settings) => ended,
        pressed = ctrl_c() => Ok(pressed?),
    }
}

async fn play(arguments: Arguments, mut settings: Settings) -> Result<()> {
    match arguments.command {
        Some(Command::Demo { messages, rate, seed, json }) => {
            ensure!(rate > 0.0, "--rate must be above 0");
            let scene = Scene::start(settings).await?.untold();
            show(demo::run(&scene, Pace { messages, rate_per_s: rate, seed }).await?, json)
        }
        None => {
            settings.functions = !arguments.no_functions;
            settings.port = Some(arguments.port);
            let scene = Scene::start(settings).await?.untold();
            if arguments.no_functions { watch(&scene, arguments.port).await } else { serve(&scene).await }
        }
    }
}

fn show(report: demo::Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table());
    }
    ensure!(report.record_agrees, "the record does not agree with the provider's ledger");
    ensure!(report.invoices_agree(), "the record does not agree with a provider's invoice");
    Ok(())
}

/// Prints how to call it, then a line per batch.
async fn serve(scene: &Scene) -> Result<()> {
    let (url, key, operator_key) = (&scene.shop().url, &scene.shop().key, &scene.operator().key);
    println!(
        "The SMS proxy listens on {url}\nAPI key: {key}\nOperator's key: {operator_key}\n\n\
         curl -sS {url}/messages -H 'X-API-Key: {key}' -H 'Content-Type: application/json' \
         -d '{{\"recipient\":31633450007,\"originator\":\"MB\",\"message\":\"This is a test message.\"}}'; echo\n\
         curl -sS '{url}/messages?limit=10' -H 'X-API-Key: {key}'; echo\n\
         curl -sS {url}/statistics -H 'X-API-Key: {operator_key}'; echo\n\
         curl -sS {url}/health; echo\n\n\
         A batch goes out with {1} messages, or when its oldest has waited {0} s and the bells a second or two to gather. \
         Ctrl-C ends all of it.",
        scene.settings.window_s, scene.settings.batch_size
    );
    let mut lines = scene.stack.lines();
    loop {
        match lines.recv().await {
            Ok(line) => print_batch(&line.text),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// The dispatcher's statistics line, for a person.
fn print_batch(line: &str) {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return };
    if line["event"] == "batch" || line["event"] == "recovered" {
        let error = line["last_error"].as_str().map(|error| format!(", last error: {error}")).unwrap_or_default();
        let waited = line["oldest_waited_ms"].as_i64().map(|ms| format!(", oldest waited {ms} ms")).unwrap_or_default();
        println!(
            "batch {} {}: {} messages, attempt {}{waited}{error}",
            line["batch_id"].as_str().unwrap_or_default(),
            line["outcome"].as_str().unwrap_or_default(),
            line["messages"],
            line["attempts"],
        );
    }
}

/// Prints what functions that somebody else runs need to know, and waits.
async fn watch(scene: &Scene, port: u16) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/local.env");
    let environments = scene.stack.environments();
    // A key means the same in every function that has it, so one file serves them all.
    let lines: std::collections::BTreeMap<_, _> =
        environments.into_values().flatten().filter(|(name, _)| !name.starts_with("AWS_LAMBDA_")).collect();
    let text: String = lines.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
    std::fs::write(&file, text).with_context(|| format!("{} can't be written", file.display()))?;
    let (host, key) = (Ipv4Addr::LOCALHOST, &scene.shop().key);
    scene.report_to(&format!("http://{host}:{port}/messages/delivery_status"))?;
    println!(
        "The stores and FastSMSing are up. API key: {key}\n\n\
         cargo lambda watch -A {host} -P {port} --env-file target/local.env\n\
         curl -sS http://{host}:{port}/messages -H 'X-API-Key: {key}' -H 'Content-Type: application/json' \
         -d '{{\"recipient\":31633450007,\"originator\":\"MB\",\"message\":\"This is a test message.\"}}'\n\
         cargo lambda invoke -A {host} -P {port} dispatch --data-ascii \
         '{{\"Records\":[{{\"messageId\":\"1\",\"body\":\"{{\\\"ids\\\":[\\\"<the id of a message>\\\"]}}\"}}]}}'\n\n\
         Nobody polls the queue here: dispatch runs when it is invoked, and sends what is due. Ctrl-C ends all of it.",
    );
    std::future::pending().await
}
