//! Recording the updates of a call, whatever protocol they came by.
//!
//! An *update* is one entry of a call; a *report* is an update that could be read. First the
//! messages are read, and recipients that are reported as invalid become inactive (W10). A report
//! about a message whose batch is not settled proves that the provider received the batch, so the
//! batch is settled first (W5), its outcome is applied to its members (W6), and those members are
//! read again. Only then it is decided what each report does, and written (W9). If anything fails,
//! the provider repeats the call, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dispatcher::apply_to_all;
use domain::batch::{Answer, BatchState, Outcome};
use domain::delivery_report::{Update, may_apply_outcome};
use domain::id::{BatchId, MessageId};
use domain::message::Message;
use domain::state::{DeliveryReport, State};
use edge::problem::Problem;
use record::transitions::{Applied, Transition};
use record::{RecordError, clock};
use tracing::{error, warn};

use crate::App;
use crate::message_reports::MessageReports;
use crate::update_result::UpdateResult;

/// Attempts at a call's updates. One fails only if another process changed a message between our
/// read and our write, and a message normally has four transitions at most.
const ATTEMPTS_MAX: usize = 5;

/// Who reports, and about which batch.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The call comes from one of these providers.
    pub(crate) providers: &'a [&'a str],
    /// The batch that the call is about, where the protocol names one.
    pub(crate) batch: Option<BatchId>,
}

/// The messages that a call is about, each with its reports.
type Reports = HashMap<MessageId, MessageReports>;

/// What the reports of a call do.
#[derive(Default)]
struct Decisions {
    transitions: Vec<Transition>,
    /// Each result with its place in the call.
    results: Vec<(usize, UpdateResult)>,
}

impl App {
    /// Records the updates. The results are in their order.
    pub(crate) async fn record_updates(
        &self,
        origin: Origin<'_>,
        updates: &[Update],
    ) -> Result<Vec<UpdateResult>, Problem> {
        let mut results: Vec<_> = updates.iter().map(UpdateResult::initial).collect();
        let mut reports = self.read(origin, updates).await?;
        self.deactivate_invalid(reports.values()).await?;
        for _ in 0..ATTEMPTS_MAX {
            let settled = self.settle_batches(reports.values()).await?;
            reports = self.read_again(origin, reports, &settled).await?;
            let decisions = decide(&reports)?;
            for (n, result) in decisions.results {
                results[n] = result;
            }
            reports = self.write(origin, &decisions.transitions, reports).await?;
            if reports.is_empty() {
                return Ok(results);
            }
        }
        warn!(
            messages = reports.len(),
            "other processes changed these messages every time; the provider has to repeat its call"
        );
        Err(Problem::Unavailable)
    }

    /// Reads the messages that the updates are about, and groups the reports by message.
    /// Unknown messages are left out.
    async fn read(&self, origin: Origin<'_>, updates: &[Update]) -> Result<Reports, RecordError> {
        let read = |(n, update): (usize, &Update)| {
            update
                .read
                .as_ref()
                .ok()
                .map(|(id, report)| (n, *id, *report))
        };
        let read: Vec<_> = updates.iter().enumerate().filter_map(read).collect();
        let ids: Vec<_> = read.iter().map(|(_, id, _)| *id).collect();
        let messages = self.messages.get_many(&ids).await?;
        let mut reports: Reports = messages
            .into_iter()
            .map(|seen| (seen.id, self.reports_about(origin, seen, Vec::new())))
            .collect();
        for (n, id, report) in read {
            if let Some(about) = reports.get_mut(&id) {
                about.reports.push((n, report));
            }
        }
        Ok(reports)
    }

    /// Reads the members of these batches again: an outcome was just applied to them.
    async fn read_again(
        &self,
        origin: Origin<'_>,
        mut reports: Reports,
        settled: &BTreeSet<BatchId>,
    ) -> Result<Reports, RecordError> {
        let is_member = |about: &&MessageReports| {
            about
                .seen
                .batch_id
                .is_some_and(|batch| settled.contains(&batch))
        };
        let members: Vec<_> = reports
            .values()
            .filter(is_member)
            .map(|about| about.seen.id)
            .collect();
        for seen in self.messages.get_many(&members).await? {
            if let Some(about) = reports.remove(&seen.id) {
                let id = seen.id;
                reports.insert(id, self.reports_about(origin, seen, about.reports));
            }
        }
        Ok(reports)
    }

    fn reports_about(
        &self,
        origin: Origin<'_>,
        seen: Message,
        reports: Vec<(usize, DeliveryReport)>,
    ) -> MessageReports {
        MessageReports {
            elsewhere: self.is_elsewhere(&seen, origin),
            seen,
            reports,
        }
    }

    /// The message now belongs to another batch than the reported one, or to another provider
    /// than those that report. A provider that is no longer configured may have been renamed,
    /// so it does not count as another.
    fn is_elsewhere(&self, message: &Message, origin: Origin<'_>) -> bool {
        let provider = message.provider.as_deref();
        let other = provider.filter(|provider| !origin.providers.contains(provider));
        origin
            .batch
            .is_some_and(|batch| message.batch_id != Some(batch))
            || other.is_some_and(|provider| self.verifiers.contains_key(provider))
    }

    /// W5: a report about an unsettled message proves that its whole batch arrived. Returns the
    /// batches whose outcome was then applied to their members.
    async fn settle_batches(
        &self,
        reports: impl Iterator<Item = &MessageReports>,
    ) -> Result<BTreeSet<BatchId>, RecordError> {
        let unsettled = reports.filter(|about| !about.elsewhere && about.seen.state.is_unsettled());
        let mut arrived: BTreeMap<(&str, BatchId), State> = BTreeMap::new();
        let changed = unsettled.filter(|about| about.decide().changed_by.is_some());
        for MessageReports { seen, .. } in changed {
            if let (Some(provider), Some(batch_id)) = (seen.provider.as_deref(), seen.batch_id) {
                let furthest = arrived.entry((provider, batch_id)).or_insert(seen.state);
                if seen.state == State::Unconfirmed {
                    *furthest = State::Unconfirmed;
                }
            }
        }
        let mut applied = BTreeSet::new();
        for ((provider, id), seen) in arrived {
            if self.settle_arrived(provider, id, seen).await? {
                applied.insert(id);
            }
        }
        Ok(applied)
    }

    /// W5 of one batch. Returns whether its outcome was applied to its members.
    async fn settle_arrived(
        &self,
        provider: &str,
        id: BatchId,
        seen: State,
    ) -> Result<bool, RecordError> {
        let now = clock::now();
        let arrived = Outcome::Confirmed {
            request_id: None,
            refused: Vec::new(),
        };
        let settled = self
            .batches
            .settle((provider, id), &arrived, &Answer::default(), now)
            .await?;
        match settled {
            Some(batch) if batch.state == BatchState::Confirmed => {
                let applies = may_apply_outcome(seen, batch.deadline >= now);
                if applies {
                    apply_to_all(&self.messages, &self.batches, &batch).await;
                }
                Ok(applies)
            }
            _ => {
                error!(
                    batch_id = %id,
                    "a provider reports on a batch recorded as not sent; only its message is changed"
                );
                Ok(false)
            }
        }
    }

    /// W9 of the decided transitions. Returns the reports about messages that another process
    /// changed first, with the messages as they were found.
    async fn write(
        &self,
        origin: Origin<'_>,
        transitions: &[Transition],
        mut reports: Reports,
    ) -> Result<Reports, RecordError> {
        let results = self.messages.apply(transitions).await;
        let mut lost = Reports::new();
        for (transition, result) in transitions.iter().zip(results) {
            let Applied::Found(Some(found)) = result? else {
                continue;
            };
            if let Some(about) = reports.remove(&transition.id()) {
                lost.insert(found.id, self.reports_about(origin, *found, about.reports));
            }
        }
        Ok(lost)
    }
}

/// Decides about all reports. Each message that its reports change gets one transition.
fn decide(reports: &Reports) -> Result<Decisions, RecordError> {
    let now = clock::now();
    let mut decisions = Decisions::default();
    for about in reports.values() {
        let decision = about.decide();
        let transition = about.transition(&decision, now).transpose()?;
        decisions.transitions.extend(transition);
        decisions.results.extend(decision.results);
    }
    Ok(decisions)
}
