//! `cargo local demo`: posts messages at random intervals, and compares what they cost with the two
//! baselines.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use anyhow::Result;
use domain::id::MessageId;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use crate::audit::Audit;
use crate::baselines::{POLLERS, optimum_requests, plain_window_requests};
use crate::caller::message;
use crate::fastsmsing::FastSmsing;
use crate::invoice;
use crate::scene::{Scene, Settings};

/// How often the progress line is written.
const PROGRESS_MS: u64 = 500;

/// How many messages the demo posts, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub messages: usize,
    pub rate_per_s: f64,
    pub seed: u64,
}

/// The figures that the demo shows, as a table or as one JSON line.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub accepted: usize,
    pub delivered: usize,
    pub provider_requests: usize,
    pub messages_per_request: f64,
    /// The fewest requests that any plan could have made for these arrivals.
    pub optimum_requests: usize,
    /// The requests that a plain batch window would have made for them.
    pub plain_window_requests: usize,
    pub single_requests: usize,
    pub sent_twice: usize,
    pub lost: usize,
    pub record_agrees: bool,
    /// What the proxy answers to the invoice of each provider.
    pub reconciliations: Vec<Value>,
    pub batch_size: usize,
    pub window_s: u32,
    audit: Audit,
}

/// Posts the messages, waits until each has its final state, and compares the ledgers.
pub async fn run(scene: &Scene, pace: Pace) -> Result<Figures> {
    let progress = Progress::new(pace.messages);
    post(scene, pace, &progress).await?;
    progress.line("all are posted; waiting for the last batch and the providers' reports");
    scene.drain().await?;
    progress.end();
    figures(scene, &scene.settings).await
}

/// Posts at Poisson arrivals, as independent customers would.
async fn post(scene: &Scene, pace: Pace, progress: &Progress) -> Result<()> {
    let mut chance = fastrand::Rng::with_seed(pace.seed);
    let mut next = Instant::now();
    let mut posts = JoinSet::new();
    let mut tick = interval(Duration::from_millis(PROGRESS_MS));
    for n in 0..pace.messages {
        loop {
            tokio::select! {
                () = sleep_until(next) => break,
                _ = tick.tick() => {
                    let requests = billed_requests(scene);
                    progress.line(&format!("{n} posted, {requests} requests to providers"));
                }
            }
        }
        next += Duration::from_secs_f64(-(1.0 - chance.f64()).ln() / pace.rate_per_s);
        let shop = scene.shop().clone();
        posts.spawn(async move { shop.send(&message(n)).await });
    }
    while let Some(posted) = posts.join_next().await {
        posted??;
    }
    Ok(())
}

fn billed_requests(scene: &Scene) -> usize {
    scene.fastsmsings().map(FastSmsing::billed_requests).sum()
}

async fn figures(scene: &Scene, settings: &Settings) -> Result<Figures> {
    let audit = Audit::of(scene).await?;
    let arrivals_ms = arrivals_ms(&scene.accepted_ids());
    let window_ms = u64::from(settings.window_s) * 1000;
    Ok(Figures {
        accepted: audit.accepted,
        delivered: audit.delivered(),
        provider_requests: audit.provider_requests,
        messages_per_request: audit.accepted as f64 / audit.provider_requests.max(1) as f64,
        optimum_requests: optimum_requests(&arrivals_ms, settings.batch_size, window_ms),
        plain_window_requests: plain_window_requests(
            &arrivals_ms,
            POLLERS,
            settings.batch_size,
            window_ms,
        ),
        single_requests: audit.accepted,
        sent_twice: audit.sent_twice,
        lost: audit.lost,
        record_agrees: audit.problems.is_empty(),
        reconciliations: invoice::reconcile_each(scene).await?,
        batch_size: settings.batch_size,
        window_s: settings.window_s,
        audit,
    })
}

/// The ordered arrival times of the messages, which their ids contain.
pub fn arrivals_ms(ids: &[String]) -> Vec<u64> {
    let created = |id: &String| {
        id.parse::<MessageId>()
            .ok()
            .map(|id| id.created_at().as_millisecond())
    };
    let mut arrivals: Vec<_> = ids
        .iter()
        .filter_map(created)
        .filter_map(|ms| u64::try_from(ms).ok())
        .collect();
    arrivals.sort_unstable();
    arrivals
}

impl Figures {
    /// The figures as a table.
    pub fn table(&self) -> String {
        let per_request = |requests: usize| {
            format!(
                "{:>7}   {:>6.1} SMS per request",
                requests,
                self.accepted as f64 / requests.max(1) as f64
            )
        };
        let states: Vec<_> = self
            .audit
            .statuses
            .iter()
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        let agrees = if self.record_agrees { "yes" } else { "NO" };
        let mut table = format!(
            "\n  accepted                 {:>7}   (batch of {}, window of {} s)\
             \n  states                   {:>7}   {}\
             \n\
             \n  provider requests        {}\
             \n  offline optimum          {}\
             \n  plain batch window       {}\
             \n  single requests          {}\
             \n\
             \n  sent twice               {:>7}\
             \n  lost                     {:>7}\
             \n  record agrees with bill  {agrees:>7}   \
             ({} confirmed + {} unconfirmed batches, {} billed)\n",
            self.accepted,
            self.batch_size,
            self.window_s,
            "",
            states.join(", "),
            per_request(self.provider_requests),
            per_request(self.optimum_requests),
            per_request(self.plain_window_requests),
            per_request(self.single_requests),
            self.sent_twice,
            self.lost,
            self.audit.confirmed_batches,
            self.audit.unknown_batches,
            self.provider_requests,
        );
        for problem in &self.audit.problems {
            table += &format!("  ! {problem}\n");
        }
        table
            + &self
                .reconciliations
                .iter()
                .map(invoice_rows)
                .collect::<String>()
    }

    /// Whether the record agrees with the invoice of every provider.
    pub fn invoices_agree(&self) -> bool {
        self.reconciliations
            .iter()
            .all(|found| found["verdict"] == "AGREES")
    }
}

/// The rows about one provider's invoice.
fn invoice_rows(found: &Value) -> String {
    let (bound, unconfirmed) = (&found["bound"], &found["explained_by_unconfirmed"]["count"]);
    format!(
        "\n  invoice of {:<14}{:>7}   \
         ({} lines: {} matched, {unconfirmed} explained by unconfirmed)\
         \n  confirmed <= billed      {:>7}   <= {} confirmed or unconfirmed\n",
        found["provider"].as_str().unwrap_or_default(),
        found["verdict"].as_str().unwrap_or_default(),
        found["invoice"]["lines"],
        found["matched"],
        format!("{} <= {}", bound["at_least"], bound["billed"]),
        bound["at_most"],
    )
}

/// One line on the terminal that is overwritten again and again. Without a terminal, nothing is
/// written.
struct Progress {
    messages: usize,
    shown: bool,
}

impl Progress {
    fn new(messages: usize) -> Self {
        Self {
            messages,
            shown: stderr().is_terminal(),
        }
    }

    fn line(&self, text: &str) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K  {} messages: {text}", self.messages);
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = writeln!(stderr());
        }
    }
}
