//! The audit compares three ledgers: the ids that callers were given with a 202, what the providers
//! accepted and billed, and what the record says. A provider's ledger comes from its simulator,
//! which shares no code with the product.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use dynoxide::actions::scan::ScanRequest;
use serde::Serialize;
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::simulator::Billed;

/// Messages of one listing page.
const PAGE: usize = 1_000;

/// What the ledgers say, and where they disagree.
#[derive(Debug, Default, Serialize)]
pub struct Audit {
    /// Messages for which callers were given a 202.
    pub accepted: usize,
    /// How many messages of the record have each `submission`.
    pub submissions: BTreeMap<String, usize>,
    /// How many messages of the record have each `status`.
    pub statuses: BTreeMap<String, usize>,
    /// Requests that the providers bill.
    pub provider_requests: usize,
    pub sent_twice: usize,
    /// Answered with a 202, and not in the record.
    pub lost: usize,
    /// Still waiting or being sent, although nothing is under way any more.
    pub stuck: usize,
    /// Shown as sent, although the provider refused them, because its answer was lost. The record
    /// then knows of the batch by a report about another message only, and that speaks for the
    /// whole batch.
    pub refusals_lost: usize,
    pub confirmed_batches: usize,
    pub unknown_batches: usize,
    pub problems: Vec<String>,
}

impl Audit {
    pub async fn of(scene: &Scene) -> Result<Self> {
        let mut audit = Self::default();
        let messages = scene.operator().list(PAGE).await?;
        let batches = batches(scene)?;
        audit.compare_accepted(&scene.accepted_ids(), &messages);
        audit.compare_ledger(
            sent(scene, &messages, &batches),
            &refusals_lost(scene, &batches),
            &messages,
        )?;
        for (provider, ledger) in scene.ledgers() {
            audit.compare_bill(provider, &ledger, &batches);
        }
        Ok(audit)
    }

    pub fn delivered(&self) -> usize {
        self.statuses.get("DELIVERED").copied().unwrap_or_default()
    }

    /// Every message that was answered with a 202 is in the record.
    fn compare_accepted(&mut self, accepted: &[String], messages: &[Value]) {
        let recorded: BTreeSet<_> = messages
            .iter()
            .filter_map(|message| message["id"].as_str())
            .collect();
        self.accepted = accepted.iter().collect::<BTreeSet<_>>().len();
        if recorded.len() != messages.len() {
            self.problems
                .push("the listing repeats a message".to_owned());
        }
        for id in accepted.iter().filter(|id| !recorded.contains(id.as_str())) {
            self.lost += 1;
            self.problems
                .push(format!("{id} was accepted and is not in the record"));
        }
    }

    /// What the providers accepted is what the record shows as sent, or as possibly sent.
    fn compare_ledger(
        &mut self,
        mut sent: BTreeMap<String, usize>,
        refusals_lost: &BTreeSet<String>,
        messages: &[Value],
    ) -> Result<()> {
        for message in messages {
            let id = message["id"].as_str().context("a message has an id")?;
            let submission = message["submission"]
                .as_str()
                .context("a message has a submission")?;
            let times = sent.remove(id).unwrap_or_default();
            *self.submissions.entry(submission.to_owned()).or_default() += 1;
            *self
                .statuses
                .entry(message["status"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
            if times > 1 {
                self.sent_twice += 1;
                self.problems.push(format!("{id} was sent {times} times"));
            }
            match submission {
                "SENT" if times == 0 && refusals_lost.contains(id) => self.refusals_lost += 1,
                "SENT" if times == 0 => self
                    .problems
                    .push(format!("{id} is SENT and the provider never had it")),
                "NOT_SENT" if times > 0 => self
                    .problems
                    .push(format!("{id} is NOT_SENT and the provider had it")),
                "QUEUED" | "SENDING" => {
                    self.stuck += 1;
                    self.problems.push(format!(
                        "{id} is still {submission}, and the provider had it {times} times"
                    ));
                }
                _ => {}
            }
        }
        self.problems.extend(
            sent.keys()
                .map(|id| format!("{id} was sent and is not in the record")),
        );
        Ok(())
    }

    /// A provider's bill lies within the bound of the record: confirmed <= billed <= confirmed +
    /// unconfirmed.
    fn compare_bill(&mut self, provider: &str, ledger: &[Billed], batches: &[Value]) {
        let batches: Vec<_> = batches
            .iter()
            .filter(|batch| batch["provider"]["S"] == provider)
            .collect();
        let in_state = |states: &[&str]| {
            batches
                .iter()
                .filter(|batch| states.contains(&batch["state"]["S"].as_str().unwrap_or_default()))
                .count()
        };
        let (confirmed, unknown) = (in_state(&["CONFIRMED"]), in_state(&["UNKNOWN", "STARTED"]));
        self.provider_requests += ledger.len();
        self.confirmed_batches += confirmed;
        self.unknown_batches += unknown;
        let most = confirmed + unknown;
        if !(confirmed..=most).contains(&ledger.len()) {
            self.problems.push(format!(
                "{provider}: {} requests were billed, {confirmed} to {most} are explained",
                ledger.len()
            ));
        }
        for billed in ledger
            .iter()
            .filter(|billed| !batches.iter().any(|batch| is_of(batch, billed)))
        {
            self.problems.push(format!(
                "{provider}: {} was billed and is not in the record",
                billed.request_id
            ));
        }
    }
}

/// How often the providers accepted each message, by our own id.
fn sent(scene: &Scene, messages: &[Value], batches: &[Value]) -> BTreeMap<String, usize> {
    let recipients: BTreeMap<_, _> = messages
        .iter()
        .filter_map(|message| Some((message["id"].as_str()?, message["recipient"].as_str()?)))
        .collect();
    let mut sent = BTreeMap::new();
    for (_, ledger) in scene.ledgers() {
        for billed in &ledger {
            let batch = batches
                .iter()
                .find(|batch| batch["id"]["S"] == billed.batch_id.as_str());
            let members: Vec<_> = batch.map(members).unwrap_or_default();
            for name in billed
                .messages
                .iter()
                .filter(|name| !billed.refused.contains(name))
            {
                // A provider that knows messages by their recipient only: the batch shows which
                // message it was.
                let is_named = |id: &&&str| {
                    recipients
                        .get(**id)
                        .is_some_and(|found| found.strip_prefix('+') == Some(name))
                };
                let id = members.iter().find(is_named).map_or(name.as_str(), |id| id);
                *sent.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    sent
}

/// The messages that a provider refused one by one, in an answer that never reached the record.
fn refusals_lost(scene: &Scene, batches: &[Value]) -> BTreeSet<String> {
    let ledgers = scene.ledgers().into_iter().flat_map(|(_, ledger)| ledger);
    let is_lost = |billed: &Billed| {
        let batch = batches
            .iter()
            .find(|batch| batch["id"]["S"] == billed.batch_id.as_str());
        batch.is_some_and(|batch| {
            batch.get("refused").is_none() && batch.get("request_id").is_none()
        })
    };
    ledgers
        .filter(is_lost)
        .flat_map(|billed| billed.refused)
        .collect()
}

/// Whether the batch is the one that was billed: by the batch id, or by the message where the
/// protocol has no batch id.
fn is_of(batch: &Value, billed: &Billed) -> bool {
    match billed.batch_id.as_str() {
        "" => billed
            .messages
            .iter()
            .all(|id| members(batch).contains(&id.as_str())),
        id => batch["id"]["S"] == id,
    }
}

fn members(batch: &Value) -> Vec<&str> {
    batch["members"]["L"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|member| member["S"].as_str())
        .collect()
}

/// The batch items as they are stored, read without the wire. Only a test scans a table; the
/// product never does.
fn batches(scene: &Scene) -> Result<Vec<Value>> {
    let (mut batches, mut start) = (Vec::new(), Value::Null);
    loop {
        let request: ScanRequest =
            serde_json::from_value(json!({"TableName": "Batches", "ExclusiveStartKey": start}))?;
        let mut answer = serde_json::to_value(scene.stack.dynamo.database.scan(request)?)?;
        batches.append(answer["Items"].as_array_mut().context("a scan has items")?);
        start = answer["LastEvaluatedKey"].take();
        if start.is_null() {
            return Ok(batches);
        }
    }
}
