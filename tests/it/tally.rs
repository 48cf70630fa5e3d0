//! The audits of many scenes added up, and one line that prints their figures.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tests::audit::Audit;
use tests::scene::Scene;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::support::sweep;

/// After this many sweeps, everything has to be at rest.
const SWEEPS_MAX: usize = 60;
const SWEEP_PAUSE_MS: u64 = 200;
const PAGE: usize = 1_000;

/// How many scenes `chaos` and `crash` play at a time. Scenes mostly wait, but on a machine with
/// too many of them every call would time out.
pub(crate) static STAGES: Semaphore = Semaphore::const_new(14);

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: usize,
    pub(crate) lost: usize,
    pub(crate) twice: usize,
    /// Scenes whose bill the record does not explain.
    pub(crate) outside: usize,
    pub(crate) stuck: usize,
    pub(crate) unconfirmed: usize,
    /// The unconfirmed messages that the provider accepted.
    pub(crate) truly_sent: usize,
    /// Messages that the provider refused in an answer that was lost.
    pub(crate) refusals_lost: usize,
    pub(crate) problems: Vec<String>,
}

impl Tally {
    /// After the faults have stopped, sweeps until nothing is on its way any more, and audits the
    /// scene. The audit finds what has not come to rest by then.
    pub(crate) async fn of(scene: Scene) -> Tally {
        let mut tally = Tally::audited(&scene).await.unwrap_or_else(|error| Tally {
            problems: vec![format!("the audit failed: {error:#}")],
            ..Tally::default()
        });
        if !tally.problems.is_empty() {
            let lines = scene.stack.logs().into_iter();
            tally
                .problems
                .extend(lines.map(|line| format!("    {}: {}", line.function, line.text)));
        }
        drop(scene.without_audit());
        tally
    }

    async fn audited(scene: &Scene) -> Result<Tally> {
        for _ in 0..SWEEPS_MAX {
            scene.drain().await?;
            if is_done(scene).await? {
                break;
            }
            // This sweep may be one that crashes; the next one continues its work.
            let _ = sweep(scene).await;
            sleep(Duration::from_millis(SWEEP_PAUSE_MS)).await;
        }
        scene.drain().await?;
        let audit = Audit::of(scene).await?;
        let messages = scene.operator().list(PAGE).await?;
        let bound = audit.confirmed_batches..=audit.confirmed_batches + audit.unknown_batches;
        let mut tally = Tally {
            messages: messages.len(),
            lost: audit.lost,
            twice: audit.sent_twice,
            outside: usize::from(!bound.contains(&audit.provider_requests)),
            stuck: audit.stuck,
            refusals_lost: audit.refusals_lost,
            problems: audit.problems,
            ..Tally::default()
        };
        for message in messages
            .iter()
            .filter(|message| message["submission"] == "UNCONFIRMED")
        {
            tally.unconfirmed += 1;
            tally.truly_sent += scene
                .fastsmsing
                .times_sent(message["id"].as_str().unwrap_or_default())
                .min(1);
        }
        tally.compare_keys(&messages);
        Ok(tally)
    }

    /// Callers write the Idempotency-Key into the reference: each key may make one message only.
    fn compare_keys(&mut self, messages: &[Value]) {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for key in messages
            .iter()
            .filter_map(|message| message["reference"].as_str())
        {
            *times.entry(key).or_default() += 1;
        }
        let repeated = times.iter().filter(|(_, times)| **times > 1);
        self.problems
            .extend(repeated.map(|(key, times)| format!("{key} made {times} messages")));
    }

    /// First the figures that have to be 0, then the others.
    pub(crate) fn line(&self) -> String {
        let Tally {
            lost,
            twice,
            outside,
            stuck,
            unconfirmed,
            truly_sent,
            refusals_lost,
            ..
        } = self;
        format!(
            "lost {lost}, twice {twice}, outside the bound {outside}, stuck {stuck}; \
             unconfirmed {unconfirmed}, of which truly sent {truly_sent}; \
             single refusals lost with their answer {refusals_lost}"
        )
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.messages += other.messages;
        self.lost += other.lost;
        self.twice += other.twice;
        self.outside += other.outside;
        self.stuck += other.stuck;
        self.refusals_lost += other.refusals_lost;
        self.unconfirmed += other.unconfirmed;
        self.truly_sent += other.truly_sent;
        self.problems.extend(other.problems);
    }
}

/// Whether no message waits or is being sent; with a provider key, none may be UNCONFIRMED either.
async fn is_done(scene: &Scene) -> Result<bool> {
    let may_stay_unconfirmed = scene.settings.fastsmsing.key_lifetime_s == 0;
    let messages = scene.operator().list(PAGE).await?;
    Ok(messages
        .iter()
        .all(|message| match message["submission"].as_str() {
            Some("QUEUED" | "SENDING") | None => false,
            Some("UNCONFIRMED") => may_stay_unconfirmed,
            Some(_) => true,
        }))
}

/// Prints a line even if the test passes, because direct writes to stderr are not captured.
pub(crate) fn announce(line: &str) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}
