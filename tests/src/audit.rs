//! The audit: three ledgers held against each other.
//!
//! What the callers were told, what the provider accepted and billed, and what the record says. The provider's
//! ledger comes from the simulator, which shares no code with what is audited.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use dynoxide::actions::scan::ScanRequest;
use serde::Serialize;
use serde_json::{Value, json};

use crate::fastsmsing::FastSmsing;
use crate::scene::Scene;

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
    /// Requests that the provider bills.
    pub provider_requests: usize,
    pub sent_twice: usize,
    /// Told, and not in the record.
    pub lost: usize,
    /// Neither sent nor provably not sent, with nothing on its way any more.
    pub stuck: usize,
    pub confirmed_batches: usize,
    pub unknown_batches: usize,
    pub problems: Vec<String>,
}

impl Audit {
    pub async fn of(scene: &Scene) -> Result<Self> {
        let mut audit = Self::default();
        let messages = scene.operator().list(PAGE).await?;
        audit.compare_told(&scene.told(), &messages);
        audit.compare_ledger(scene, &messages)?;
        audit.compare_bill(scene)?;
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

    /// Accepted by the provider is what the record says is sent, or perhaps sent.
    fn compare_ledger(&mut self, scene: &Scene, messages: &[Value]) -> Result<()> {
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for billed in scene.fastsmsings().flat_map(FastSmsing::ledger) {
            for id in billed.messages.into_iter().filter(|id| !billed.refused.contains(id)) {
                *sent.entry(id).or_default() += 1;
            }
        }
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

    /// The invoice lies within the record's bound: confirmed <= billed <= confirmed + unconfirmed.
    fn compare_bill(&mut self, scene: &Scene) -> Result<()> {
        let batches = batches(scene)?;
        let in_state = |states: &[&str]| {
            batches.iter().filter(|batch| states.contains(&batch["state"]["S"].as_str().unwrap_or_default())).count()
        };
        self.provider_requests = scene.fastsmsings().map(FastSmsing::billed_requests).sum();
        self.confirmed_batches = in_state(&["CONFIRMED"]);
        self.unknown_batches = in_state(&["UNKNOWN", "STARTED"]);
        let most = self.confirmed_batches + self.unknown_batches;
        if !(self.confirmed_batches..=most).contains(&self.provider_requests) {
            self.problems.push(format!(
                "{} requests were billed, {} to {most} are explained",
                self.provider_requests, self.confirmed_batches
            ));
        }
        let ids: BTreeSet<_> = batches.iter().filter_map(|batch| batch["id"]["S"].as_str()).collect();
        let unknown =
            scene.fastsmsings().flat_map(FastSmsing::ledger).filter(|billed| !ids.contains(billed.batch_id.as_str()));
        self.problems
            .extend(unknown.map(|billed| format!("batch {} was billed and is not in the record", billed.batch_id)));
        Ok(())
    }
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
