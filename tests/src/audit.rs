//! The audit: three ledgers held against each other.
//!
//! What the callers were told, what the providers accepted and billed, and what the record says. A provider's
//! ledger comes from its simulator, which shares no code with what is audited.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use dynoxide::actions::scan::ScanRequest;
use serde::Serialize;
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::simulator::Billed;

/// Messages of one listing page.
const PAGE: usize = 1_000;

/// What the ledgers say, and where they do not agree.
#[derive(Debug, Default, Serialize)]
pub struct Audit {
    /// Messages that callers were given a 202 for.
    pub accepted: usize,
    /// Messages of the record by submission.
    pub submissions: BTreeMap<String, usize>,
    /// Messages of the record by status.
    pub statuses: BTreeMap<String, usize>,
    /// Requests that the providers bill.
    pub provider_requests: usize,
    pub sent_twice: usize,
    /// Told, and not in the record.
    pub lost: usize,
    /// Neither sent nor provably not sent, with nothing on its way any more.
    pub stuck: usize,
    /// Shown as sent, and refused by the provider in an answer that was lost: a report about another message of the
    /// batch is all that is known, and it speaks for the batch (DESIGN §6).
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
        audit.compare_told(&scene.told(), &messages);
        audit.compare_ledger(sent(scene, &messages, &batches), &refusals_lost(scene, &batches), &messages)?;
        for (provider, ledger) in scene.ledgers() {
            audit.compare_bill(provider, &ledger, &batches);
        }
        Ok(audit)
    }

    pub fn delivered(&self) -> usize {
        self.statuses.get("DELIVERED").copied().unwrap_or_default()
    }

    /// Acknowledged is recorded.
    fn compare_told(&mut self, told: &[String], messages: &[Value]) {
        let recorded: BTreeSet<_> = messages.iter().filter_map(|message| message["id"].as_str()).collect();
        self.accepted = told.iter().collect::<BTreeSet<_>>().len();
        if recorded.len() != messages.len() {
            self.problems.push("the listing repeats a message".to_owned());
        }
        for id in told.iter().filter(|id| !recorded.contains(id.as_str())) {
            self.lost += 1;
            self.problems.push(format!("{id} was accepted and is not in the record"));
        }
    }

    /// Accepted by a provider is what the record says is sent, or perhaps sent.
    fn compare_ledger(
        &mut self,
        mut sent: BTreeMap<String, usize>,
        refusals_lost: &BTreeSet<String>,
        messages: &[Value],
    ) -> Result<()> {
        for message in messages {
            let id = message["id"].as_str().context("a message has an id")?;
            let submission = message["submission"].as_str().context("a message has a submission")?;
            let times = sent.remove(id).unwrap_or_default();
            *self.submissions.entry(submission.to_owned()).or_default() += 1;
            *self.statuses.entry(message["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            if times > 1 {
                self.sent_twice += 1;
                self.problems.push(format!("{id} was sent {times} times"));
            }
            match submission {
                "SENT" if times == 0 && refusals_lost.contains(id) => self.refusals_lost += 1,
                "SENT" if times == 0 => self.problems.push(format!("{id} is SENT and the provider never had it")),
                "NOT_SENT" if times > 0 => self.problems.push(format!("{id} is NOT_SENT and the provider had it")),
                "QUEUED" | "SENDING" => {
                    self.stuck += 1;
                    self.problems.push(format!("{id} is still {submission}, and the provider had it {times} times"));
                }
                _ => {}
            }
        }
        self.problems.extend(sent.keys().map(|id| format!("{id} was sent and is not in the record")));
        Ok(())
    }

    /// A provider's invoice lies within the record's bound: confirmed <= billed <= confirmed + unconfirmed.
    fn compare_bill(&mut self, provider: &str, ledger: &[Billed], batches: &[Value]) {
        let batches: Vec<_> = batches.iter().filter(|batch| batch["provider"]["S"] == provider).collect();
        let in_state = |states: &[&str]| {
            batches.iter().filter(|batch| states.contains(&batch["state"]["S"].as_str().unwrap_or_default())).count()
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
        for billed in ledger.iter().filter(|billed| !batches.iter().any(|batch| is_of(batch, billed))) {
            self.problems.push(format!("{provider}: {} was billed and is not in the record", billed.request_id));
        }
    }
}

/// How often each message was taken, by our own id of it.
fn sent(scene: &Scene, messages: &[Value], batches: &[Value]) -> BTreeMap<String, usize> {
    let recipients: BTreeMap<_, _> =
        messages.iter().filter_map(|message| Some((message["id"].as_str()?, message["recipient"].as_str()?))).collect();
    let mut sent = BTreeMap::new();
    for (_, ledger) in scene.ledgers() {
        for billed in &ledger {
            let batch = batches.iter().find(|batch| batch["id"]["S"] == billed.batch_id.as_str());
            let members: Vec<_> = batch.map(members).unwrap_or_default();
            for name in billed.messages.iter().filter(|name| !billed.refused.contains(name)) {
                // Where a provider knows a message by its recipient only, the batch tells which one that was.
                let is_named =
                    |id: &&&str| recipients.get(**id).is_some_and(|found| found.strip_prefix('+') == Some(name));
                let id = members.iter().find(is_named).map_or(name.as_str(), |id| id);
                *sent.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    sent
}

/// The messages that a provider refused singly, in an answer of which the record has nothing.
fn refusals_lost(scene: &Scene, batches: &[Value]) -> BTreeSet<String> {
    let ledgers = scene.ledgers().into_iter().flat_map(|(_, ledger)| ledger);
    let is_lost = |billed: &Billed| {
        let batch = batches.iter().find(|batch| batch["id"]["S"] == billed.batch_id.as_str());
        batch.is_some_and(|batch| batch.get("refused").is_none() && batch.get("request_id").is_none())
    };
    ledgers.filter(is_lost).flat_map(|billed| billed.refused).collect()
}

/// The batch is what was billed: by the id that the provider was given, or where it was given none by its message.
fn is_of(batch: &Value, billed: &Billed) -> bool {
    match billed.batch_id.as_str() {
        "" => billed.messages.iter().all(|id| members(batch).contains(&id.as_str())),
        id => batch["id"]["S"] == id,
    }
}

fn members(batch: &Value) -> Vec<&str> {
    batch["members"]["L"].as_array().into_iter().flatten().filter_map(|member| member["S"].as_str()).collect()
}

/// The batch items as they are stored, read past the wire. A test may scan; the product never does.
fn batches(scene: &Scene) -> Result<Vec<Value>> {
    let (mut batches, mut start) = (Vec::new(), Value::Null);
    loop {
        let request: ScanRequest = serde_json::from_value(json!({"TableName": "Batches", "ExclusiveStartKey": start}))?;
        let mut answer = serde_json::to_value(scene.stack.dynamo.database.scan(request)?)?;
        batches.append(answer["Items"].as_array_mut().context("a scan has items")?);
        start = answer["LastEvaluatedKey"].take();
        if start.is_null() {
            return Ok(batches);
        }
    }
}
