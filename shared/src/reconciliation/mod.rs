//! The provider's invoice against the record, for one provider and period.
//!
//! The lines of the invoice are taken first and kept as no more than their ids; then the batches of the period
//! are held against them one at a time, in any order, and forgotten. A month of one request a second is so
//! compared in the memory of its invoice's lines, about 50 bytes each, or 150 where they have both ids.
//!
//! A line is matched by our batch id, or else by the provider's id of the request. Where a line has only the
//! latter, and the record never learned it, the two are held against each other by number alone. A provider may
//! have ids of its own that look like ours: where no batch has the id of a line, its request id counts.
//!
//! A batch belongs to the period in which it began, a line to the one in which it was billed, which is a little
//! later and by another clock; much later where a doubt was settled by a repeat under the provider's key. So a batch
//! may stand on the invoice before or after the one of its period: neither is an error, but only while it was near
//! the edge when it was last written, so a long-lived key excuses nothing else. Periods that adjoin therefore add
//! up, and over all of them no more batches `began_outside` than `may_be_on_another_invoice`.
//!
//! A key that lives a day costs the reading of a day's batches more, and no memory: they are forgotten, too.

mod report;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::batch::BatchState;
use crate::id::BatchId;
use crate::invoice::{Key, Line};
use crate::money::Money;

pub use report::{Bound, EXAMPLES_MAX, Example, Finding, Report, Verdict};

/// From the beginning of a batch to its line on the invoice: the wait for a slot, the attempts, a sweep.
const BILLED_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// The provider's clock may be behind ours by this much.
const CLOCKS: SignedDuration = SignedDuration::from_secs(10);

/// What an invoice is held against.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The period, its end excluded.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Of one request, where it is known.
    pub price: Option<Money>,
    /// From the beginning of a batch to its line at the latest, as [`billed_within`] has it.
    pub billed_within: SignedDuration,
}

/// How long after its beginning a batch may be billed by a provider that honours a key for so many seconds.
pub fn billed_within(key_lifetime_s: u64) -> SignedDuration {
    BILLED_WITHIN.max(SignedDuration::from_secs(i64::try_from(key_lifetime_s).unwrap_or(i64::MAX)))
}

/// What has to be known of a batch: with [`Recorded::FIELDS`] all that is read of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    pub id: BatchId,
    pub state: BatchState,
    #[serde(default)]
    pub request_id: Option<String>,
    /// No request of it was begun much later than that.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
}

impl Recorded {
    pub const FIELDS: [&str; 4] = ["id", "state", "request_id", "updated_at"];
}

/// A comparison in the making.
pub struct Reconciliation {
    terms: Terms,
    /// The numbers of the lines that no batch was found for yet.
    by_batch: HashMap<BatchId, u32>,
    by_request: HashMap<String, u32>,
    /// The request ids of lines that have a batch id as well.
    beside: HashMap<String, BatchId>,
    /// Batches whose line has a batch id that may be another's: that is known once all were held.
    deferred: Vec<Recorded>,
    /// A line named a batch by our id.
    names_ours: bool,
    nameless: Nameless,
    report: Report,
}

/// Batches that no line names and whose request id is not known: only their number can be compared.
#[derive(Default)]
struct Nameless {
    confirmed: Finding,
    unconfirmed: Finding,
    /// Those that need not be on this invoice.
    optional: u64,
}

impl Terms {
    /// The batches that the invoice may name began between these moments, the second excluded.
    pub fn reach(&self) -> (Timestamp, Timestamp) {
        let from = self.from.checked_sub(self.billed_within).unwrap_or(Timestamp::MIN);
        (from, later(self.to, CLOCKS))
    }

    fn holds(&self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// Whether the line of a batch, if it has one, may be on this invoice, and whether it may be on another.
    fn may_be_here_or_elsewhere(&self, batch: &Recorded) -> (bool, bool) {
        let began = batch.id.created_at();
        let first = began.checked_sub(CLOCKS).unwrap_or(Timestamp::MIN);
        let last = later(batch.updated_at.max(began), BILLED_WITHIN).min(later(began, self.billed_within));
        (first < self.to && last >= self.from, first < self.from || last >= self.to)
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

impl Reconciliation {
    pub fn new(terms: Terms) -> Self {
        let (by_batch, by_request, beside, deferred, nameless) = Default::default();
        Self { terms, by_batch, by_request, beside, deferred, names_ours: false, nameless, report: Report::default() }
    }

    /// Takes a line of the invoice. All lines come before the first batch.
    pub fn bill(&mut self, line: Line) {
        let report = &mut self.report;
        let example = Example::of_line(&line);
        if !self.terms.holds(line.at) {
            return report.outside_the_period.note(example);
        }
        report.invoice.lines += 1;
        report.invoice.requests += u64::from(line.requests);
        if let Some(amount) = line.amount {
            report.invoice.amount = Some(report.invoice.amount.unwrap_or_default() + amount);
        }
        if line.requests != 1 {
            report.wrong_requests.note(Example { requests: Some(line.requests), ..example.clone() });
        }
        let expected = self.terms.price.map(|price| price * line.requests.into());
        if let (Some(amount), Some(expected)) = (line.amount, expected)
            && amount != expected
        {
            let amounts = Example { amount: Some(amount), expected_amount: Some(expected), ..example.clone() };
            report.wrong_amounts.note(amounts);
        }
        let known = match line.key {
            Key::Batch(id, request_id) => {
                if let Some(request_id) = request_id {
                    self.beside.entry(request_id).or_insert(id);
                }
                self.by_batch.insert(id, line.number)
            }
            Key::Request(id) => self.by_request.insert(id, line.number),
            Key::Foreign(_) => return report.billed_not_recorded.note(example),
        };
        if known.is_some() {
            report.duplicate_lines.note(example);
        }
    }

    /// Holds a batch of the record against the invoice.
    pub fn hold(&mut self, batch: &Recorded) {
        let by_request = batch.request_id.as_ref().and_then(|id| self.by_request.remove(id));
        let by_batch = self.by_batch.remove(&batch.id);
        self.names_ours |= by_batch.is_some();
        if by_batch.is_some() && by_request.is_some() {
            self.report.duplicate_lines.note(example(batch, by_request));
        }
        let line = by_batch.or(by_request);
        let is_beside = batch.request_id.as_ref().is_some_and(|id| self.beside.contains_key(id));
        if line.is_none() && is_beside {
            self.deferred.push(batch.clone());
        } else {
            self.place(batch, line);
        }
    }

    /// Counts a batch as what it is by its line, or by having none.
    fn place(&mut self, batch: &Recorded, line: Option<u32>) {
        let inside = self.terms.holds(batch.id.created_at());
        let (may_be_here, may_be_elsewhere) = self.terms.may_be_here_or_elsewhere(batch);
        let nameless = batch.request_id.is_none();
        let example = |line| example(batch, line);
        let report = &mut self.report;
        if !may_be_here {
            // It is within reach only because a repeat might have been billed later, and there was none.
            if line.is_some() {
                report.of_another_period.note(example(line));
            }
            return;
        }
        report.began_outside += u64::from(!inside && line.is_some());
        match (batch.state, line) {
            (BatchState::Rejected | BatchState::Tomb, Some(_)) => report.billed_though_not_sent.note(example(line)),
            (BatchState::Rejected | BatchState::Tomb, None) => report.record.not_sent += u64::from(inside),
            (BatchState::Confirmed, Some(_)) => {
                report.matched += 1;
                report.record.confirmed += 1;
            }
            (BatchState::Started | BatchState::Unknown, Some(_)) => {
                report.explained_by_unconfirmed.note(example(line));
                report.record.unconfirmed += 1;
            }
            (_, None) if may_be_elsewhere => {
                self.nameless.optional += u64::from(nameless);
                if inside {
                    report.may_be_on_another_invoice.note(example(None));
                }
            }
            (BatchState::Confirmed, None) => {
                report.record.confirmed += 1;
                let missing = if nameless { &mut self.nameless.confirmed } else { &mut report.recorded_not_billed };
                missing.note(example(None));
            }
            (BatchState::Started | BatchState::Unknown, None) => {
                report.record.unconfirmed += 1;
                self.nameless.unconfirmed.note(example(None));
            }
        }
    }

    /// What the comparison came to, once all batches within reach were held against the invoice.
    pub fn finish(mut self) -> Report {
        self.place_deferred();
        let (begins, ends) = self.terms.reach();
        let mut strangers: Vec<_> = self.by_batch.drain().map(|(id, line)| (line, id)).collect();
        strangers.sort_unstable();
        for (line, id) in strangers {
            let example = Example { batch_id: Some(id.to_string()), line: Some(line), ..Example::default() };
            let within_reach = (begins..ends).contains(&id.created_at());
            let report = &mut self.report;
            let finding = if within_reach { &mut report.billed_not_recorded } else { &mut report.of_another_period };
            finding.note(example);
        }
        self.pair_nameless();
        self.report.conclude();
        self.report
    }

    /// Gives the batches that waited for it the lines whose batch id turned out to be nobody's.
    ///
    /// On an invoice that names none of our batches by our id, the ids are the provider's own: there all lines that
    /// are left count by their request id.
    fn place_deferred(&mut self) {
        for batch in std::mem::take(&mut self.deferred) {
            let stranger = batch.request_id.as_ref().and_then(|id| self.beside.remove(id));
            let line = stranger.and_then(|id| self.by_batch.remove(&id));
            self.place(&batch, line);
        }
        if !self.names_ours {
            for (request_id, id) in self.beside.drain() {
                self.by_request.extend(self.by_batch.remove(&id).map(|line| (request_id, line)));
            }
        }
    }

    /// Lines whose request id the record does not know stand for batches whose request id it does not know:
    /// first for those that must be on the invoice, then for those that may be.
    fn pair_nameless(&mut self) {
        let mut lines: Vec<_> = self.by_request.drain().map(|(id, line)| (line, id)).collect();
        lines.sort_unstable();
        let (mut left, report) = (lines.len() as u64, &mut self.report);
        let mut pair = |batches: u64| {
            let pairs = left.min(batches);
            left -= pairs;
            pairs
        };
        let Nameless { mut confirmed, mut unconfirmed, optional } = std::mem::take(&mut self.nameless);
        let pairs = pair(confirmed.count);
        report.matched += pairs;
        confirmed.count -= pairs;
        report.recorded_not_billed.append(confirmed);

        let pairs = pair(unconfirmed.count);
        report.explained_by_unconfirmed.count += pairs;
        unconfirmed.count -= pairs;
        report.unconfirmed_not_billed.append(unconfirmed);

        let pairs = pair(optional);
        report.explained_by_unconfirmed.count += pairs;
        report.record.unconfirmed += pairs;

        let named = lines.into_iter().map(|(line, id)| Example {
            request_id: Some(id),
            line: Some(line),
            ..Example::default()
        });
        report.billed_not_recorded.append(Finding { count: left, examples: named.take(EXAMPLES_MAX).collect() });
    }
}

fn example(batch: &Recorded, line: Option<u32>) -> Example {
    Example { batch_id: Some(batch.id.to_string()), line, ..Example::default() }
}
