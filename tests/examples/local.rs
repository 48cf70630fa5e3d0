//! `cargo local`: runs the whole product on this machine, to try it by hand. `demo` shows what
//! batching saves, and `--no-functions` leaves the functions to `cargo lambda watch`.

#![allow(
    clippy::print_stdout,
    reason = "a command-line program writes to its standard output"
)]

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use tests::demo::{self, Pace};
use tests::providers::ExtraProvider;
use tests::scene::{Scene, Settings};
use tokio::signal::ctrl_c;
use tokio::sync::broadcast::error::RecvError;

/// The body of a message to post.
const MESSAGE: &str =
    r#"{"recipient":31633450007,"originator":"MB","message":"This is a test message."}"#;
/// An event with one bell.
const BELL: &str =
    r#"{"Records":[{"messageId":"1","body":"{\"ids\":[\"<the id of a message>\"]}"}]}"#;

/// Runs the SMS proxy on this machine: the functions that would be deployed, DynamoDB, SQS, API
/// Gateway, and a simulated FastSMSing. Everything is in memory and ends with Ctrl-C.
#[derive(Parser)]
#[command(name = "cargo local", bin_name = "cargo local")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    deployment: Deployment,
    /// Port of the front door; with --no-functions, the port of `cargo lambda watch`
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Runs only the stores and the provider, and leaves the functions to `cargo lambda watch`
    #[arg(long)]
    no_functions: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Posts messages at random intervals and shows what they cost
    Demo {
        /// Number of messages
        #[arg(long, default_value_t = 1000)]
        messages: usize,
        /// Messages per second, on average
        #[arg(long, default_value_t = 50.0)]
        rate: f64,
        /// Seed of the random intervals
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Prints one JSON line instead of the table
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Deployment {
    /// Seconds that a message may wait for others to share its request
    #[arg(long, global = true, default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=900))]
    window: u32,
    /// Messages in a full batch
    #[arg(long, global = true, default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    batch: u64,
    /// Providers that share the batches, each with an invoice of its own
    #[arg(long, global = true, default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=9))]
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
    let more = (2..=arguments.deployment.providers).map(|n| ExtraProvider {
        batch_size: settings.batch_size,
        options: settings.fastsmsing.clone(),
        ..ExtraProvider::fastsmsing(&format!("fastsmsing-{n}"))
    });
    settings.extra_providers = more.collect();
    // Ctrl-C ends this future, and dropping the scene ends everything that it started.
    tokio::select! {
        ended = run(arguments, settings) => ended,
        pressed = ctrl_c() => Ok(pressed?),
    }
}

async fn run(arguments: Arguments, mut settings: Settings) -> Result<()> {
    match arguments.command {
        Some(Command::Demo {
            messages,
            rate,
            seed,
            json,
        }) => {
            ensure!(rate > 0.0, "--rate must be above 0");
            let scene = Scene::start(settings).await?.without_audit();
            show(
                demo::run(
                    &scene,
                    Pace {
                        messages,
                        rate_per_s: rate,
                        seed,
                    },
                )
                .await?,
                json,
            )
        }
        None => {
            settings.functions = !arguments.no_functions;
            settings.port = Some(arguments.port);
            let scene = Scene::start(settings).await?.without_audit();
            if arguments.no_functions {
                watch(&scene, arguments.port).await
            } else {
                serve(&scene).await
            }
        }
    }
}

/// Prints the figures of the demo. Ledgers that disagree are an error.
fn show(figures: demo::Figures, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        println!("{}", figures.table());
    }
    ensure!(
        figures.record_agrees,
        "the record does not agree with the provider's ledger"
    );
    ensure!(
        figures.invoices_agree(),
        "the record does not agree with a provider's invoice"
    );
    Ok(())
}

/// Prints how to call the proxy, and then one line for each batch.
async fn serve(scene: &Scene) -> Result<()> {
    let (batch_size, window_s) = (scene.settings.batch_size, scene.settings.window_s);
    let (url, key, operator_key) = (&scene.shop().url, &scene.shop().key, &scene.operator().key);
    println!(
        "The SMS proxy listens on {url}\nAPI key: {key}\nOperator's key: {operator_key}\n\n\
         curl -sS {url}/messages -H 'X-API-Key: {key}' -H 'Content-Type: application/json' \
         -d '{MESSAGE}'; echo\n\
         curl -sS '{url}/messages?limit=10' -H 'X-API-Key: {key}'; echo\n\
         curl -sS {url}/statistics -H 'X-API-Key: {operator_key}'; echo\n\
         curl -sS {url}/health; echo\n\n\
         A batch goes out when it has {batch_size} messages, or a second or two after its oldest \
         message has waited {window_s} s. Ctrl-C ends everything."
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

/// Prints a line for the statistics of a batch, if this log line has them.
fn print_batch(line: &str) {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        return;
    };
    if line["event"] == "batch" || line["event"] == "recovered" {
        let error = line["last_error"]
            .as_str()
            .map(|error| format!(", last error: {error}"))
            .unwrap_or_default();
        let waited = line["oldest_waited_ms"]
            .as_i64()
            .map(|ms| format!(", oldest waited {ms} ms"))
            .unwrap_or_default();
        println!(
            "batch {} {}: {} messages, attempt {}{waited}{error}",
            line["batch_id"].as_str().unwrap_or_default(),
            line["outcome"].as_str().unwrap_or_default(),
            line["messages"],
            line["attempts"],
        );
    }
}

/// Writes the environment of the functions to a file for `cargo lambda watch`, prints how to use
/// it, and waits.
async fn watch(scene: &Scene, port: u16) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/local.env");
    let environments = scene.stack.environments();
    // A variable has the same value in every function that has it, so one file serves them all.
    let lines: std::collections::BTreeMap<_, _> = environments
        .into_values()
        .flatten()
        .filter(|(name, _)| !name.starts_with("AWS_LAMBDA_"))
        .collect();
    let text: String = lines
        .iter()
        .map(|(name, value)| format!("{name}='{value}'\n"))
        .collect();
    // Cargo may build somewhere else, so the folder need not exist.
    std::fs::create_dir_all(file.parent().context("a file has a folder")?)?;
    std::fs::write(&file, text).with_context(|| format!("{} can't be written", file.display()))?;
    let (host, key) = (Ipv4Addr::LOCALHOST, &scene.shop().key);
    scene.report_to(&format!("http://{host}:{port}/messages/delivery_status"))?;
    println!(
        "The stores and FastSMSing are up. API key: {key}\n\n\
         cargo lambda watch -A {host} -P {port} --env-file target/local.env\n\
         curl -sS http://{host}:{port}/messages -H 'X-API-Key: {key}' \
         -H 'Content-Type: application/json' -d '{MESSAGE}'\n\
         cargo lambda invoke -A {host} -P {port} dispatch --data-ascii \
         '{BELL}'\n\n\
         Nothing polls the queue in this mode: dispatch runs when it is invoked, and sends \
         what is due. Ctrl-C ends everything.",
    );
    std::future::pending().await
}
