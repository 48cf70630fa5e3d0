//! Compares a provider's invoice with the record, for one provider and period.
//!
//! The lines of the invoice are added first, and only their ids are kept. Then the batches of the
//! period are added one at a time, in any order, and forgotten. So a month of one request a second
//! is compared in the memory of its invoice's lines: about 50 bytes each, or 150 if they have both
//! ids.
//!
//! A line is matched by our batch id, or else by the provider's request id. Lines with a request id
//! only, and batches whose request id the record never learned, are compared by their number alone.
//! A provider may have ids of its own that look like ours: if no batch has the id of a line, its
//! request id counts.
//!
//! A batch belongs to the period in which it began, and a line to the one in which it was billed,
//! which is a little later and by another clock; much later if a doubt was settled by a repeat
//! under the provider's key. So a batch near the edge of a period may be on the invoice before or
//! after, which is not an error. A batch that was last written far from the edge has no such
//! excuse, however long the key lives. The results of adjoining periods therefore add up: over all
//! of them, no more batches `began_outside` than `may_be_on_another_invoice`.
//!
//! A key that lives for a day costs the reading of one more day of batches, and no memory.

mod result;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::batch::BatchState;
use crate::id::BatchId;
use crate::invoice::{Key, Line};
use crate::money::Money;

pub use result::{Bound, EXAMPLES_MAX, Example, Finding, ReconciliationResult, Verdict};

/// The longest time from the start of a batch to its line on the invoice: the wait for a slot, the
/// attempts, a sweep.
const BILLED_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// The provider's clock may be behind ours by this much.
const CLOCKS: SignedDuration = SignedDuration::from_secs(10);

/// What an invoice is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// The beginning of the period.
    pub from: Timestamp,
    pub to: Timestamp,
    /// The price of one request, if it is configured.
    pub price: Option<Money>,
    /// The longest time from the start of a batch to its line, from [`billed_within`].
    pub billed_within: SignedDuration,
}

/// How long after its start a batch may be billed by a provider that honours a key for this many
/// seconds.
pub fn billed_within(key_lifetime_s: u64) -> SignedDuration {
    BILLED_WITHIN.max(SignedDuration::from_secs(
        i64::try_from(key_lifetime_s).unwrap_or(i64::MAX),
    ))
}

/// What is needed of a batch.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    pub id: BatchId,
    pub state: BatchState,
    #[serde(default)]
    pub request_id: Option<String>,
    /// No request for it was begun much later than this.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
}

/// A comparison under way.
pub struct Reconciliation {
    scope: Scope,
    /// The numbers of the lines for which no batch was found yet.
    by_batch: HashMap<BatchId, u32>,
    by_request: HashMap<String, u32>,
    /// The request ids of lines that also have a batch id.
    beside: HashMap<String, BatchId>,
    /// Batches whose line has a batch id that may belong to another batch, which is known once all
    /// were added.
    deferred: Vec<Recorded>,
    /// Some line named a batch by our id.
    names_ours: bool,
    nameless: Nameless,
    result: ReconciliationResult,
}

/// Batches that no line names and whose request id is unknown: only their number can be compared.
#[derive(Default)]
struct Nameless {
    confirmed: Finding,
    unconfirmed: Finding,
    /// Batches that need not be on this invoice.
    optional: u64,
}

impl Scope {
    /// The batches that the invoice may name started between these moments, the second excluded.
    pub fn reach(&self) -> (Timestamp, Timestamp) {
        let from = self
            .from
            .checked_sub(self.billed_within)
            .unwrap_or(Timestamp::MIN);
        (from, later(self.to, CLOCKS))
    }

    fn holds(&self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// Whether the line of a batch may be on this invoice, and whether it may be on another.
    fn may_be_here_or_elsewhere(&self, batch: &Recorded) -> (bool, bool) {
        let began = batch.id.created_at();
        let first = began.checked_sub(CLOCKS).unwrap_or(Timestamp::MIN);
        let last =
            later(batch.updated_at.max(began), BILLED_WITHIN).min(later(began, self.billed_within));
        (
            first < self.to && last >= self.from,
            first < self.from || last >= self.to,
        )
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

impl Reconciliation {
    pub fn new(scope: Scope) -> Self {
        let (by_batch, by_request, beside, deferred, nameless) = Default::default();
        Self {
            scope,
            by_batch,
            by_request,
            beside,
            deferred,
            names_ours: false,
            nameless,
            result: ReconciliationResult::default(),
        }
    }

    /// Adds a line of the invoice. All lines have to be added before the first batch.
    pub fn add_line(&mut self, line: Line) {
        let result = &mut self.result;
        let example = Example::of_line(&line);
        if !self.scope.holds(line.at) {
            return result.outside_the_period.note(example);
        }
        result.invoice.lines += 1;
        result.invoice.requests += u64::from(line.requests);
        if let Some(amount) = line.amount {
            result.invoice.amount = Some(result.invoice.amount.unwrap_or_default() + amount);
        }
        if line.requests != 1 {
            result.wrong_requests.note(Example {
                requests: Some(line.requests),
                ..example.clone()
            });
        }
        let expected = self.scope.price.map(|price| price * line.requests.into());
        if let (Some(amount), Some(expected)) = (line.amount, expected)
            && amount != expected
        {
            let amounts = Example {
                amount: Some(amount),
                expected_amount: Some(expected),
                ..example.clone()
            };
            result.wrong_amounts.note(amounts);
        }
        let known = match line.key {
            Key::Batch(id, request_id) => {
                if let Some(request_id) = request_id {
                    self.beside.entry(request_id).or_insert(id);
                }
                self.by_batch.insert(id, line.number)
            }
            Key::Request(id) => self.by_request.insert(id, line.number),
            Key::Foreign(_) => return result.billed_not_recorded.note(example),
        };
        if known.is_some() {
            result.duplicate_lines.note(example);
        }
    }

    /// Adds a batch of the record.
    pub fn add_batch(&mut self, batch: &Recorded) {
        let by_request = batch
            .request_id
            .as_ref()
            .and_then(|id| self.by_request.remove(id));
        let by_batch = self.by_batch.remove(&batch.id);
        self.names_ours |= by_batch.is_some();
        if by_batch.is_some() && by_request.is_some() {
            self.result.duplicate_lines.note(example(batch, by_request));
        }
        let line = by_batch.or(by_request);
        let is_beside = batch
            .request_id
            .as_ref()
            .is_some_and(|id| self.beside.contains_key(id));
        if line.is_none() && is_beside {
            self.deferred.push(batch.clone());
        } else {
            self.place(batch, line);
        }
    }

    /// Counts a batch by its state and its line, or by having none.
    fn place(&mut self, batch: &Recorded, line: Option<u32>) {
        let inside = self.scope.holds(batch.id.created_at());
        let (may_be_here, may_be_elsewhere) = self.scope.may_be_here_or_elsewhere(batch);
        let nameless = batch.request_id.is_none();
        let example = |line| example(batch, line);
        let result = &mut self.result;
        if !may_be_here {
            // It was read only because a repeat might have been billed later, and there was no
            // repeat.
            if line.is_some() {
                result.of_another_period.note(example(line));
            }
            return;
        }
        result.began_outside += u64::from(!inside && line.is_some());
        match (batch.state, line) {
            (BatchState::Rejected | BatchState::Abandoned, Some(_)) => {
                result.billed_though_not_sent.note(example(line))
            }
            (BatchState::Rejected | BatchState::Abandoned, None) => {
                result.record.not_sent += u64::from(inside)
            }
            (BatchState::Confirmed, Some(_)) => {
                result.matched += 1;
                result.record.confirmed += 1;
            }
            (BatchState::Started | BatchState::Unknown, Some(_)) => {
                result.explained_by_unconfirmed.note(example(line));
                result.record.unconfirmed += 1;
            }
            (_, None) if may_be_elsewhere => {
                self.nameless.optional += u64::from(nameless);
                if inside {
                    result.may_be_on_another_invoice.note(example(None));
                }
            }
            (BatchState::Confirmed, None) => {
                result.record.confirmed += 1;
                let missing = if nameless {
                    &mut self.nameless.confirmed
                } else {
                    &mut result.recorded_not_billed
                };
                missing.note(example(None));
            }
            (BatchState::Started | BatchState::Unknown, None) => {
                result.record.unconfirmed += 1;
                self.nameless.unconfirmed.note(example(None));
            }
        }
    }

    /// The result, once all batches within reach were added.
    pub fn finish(mut self) -> ReconciliationResult {
        self.place_deferred();
        let (begins, ends) = self.scope.reach();
        let mut strangers: Vec<_> = self.by_batch.drain().map(|(id, line)| (line, id)).collect();
        strangers.sort_unstable();
        for (line, id) in strangers {
            let example = Example {
                batch_id: Some(id.to_string()),
                line: Some(line),
                ..Example::default()
            };
            let within_reach = (begins..ends).contains(&id.created_at());
            let result = &mut self.result;
            let finding = if within_reach {
                &mut result.billed_not_recorded
            } else {
                &mut result.of_another_period
            };
            finding.note(example);
        }
        self.pair_nameless();
        self.result.conclude();
        self.result
    }

    /// Matches the deferred batches with the lines whose batch id turned out to be no batch's.
    ///
    /// On an invoice that names none of our batches by our id, the ids are the provider's own: all
    /// lines that are left count by their request id.
    fn place_deferred(&mut self) {
        for batch in std::mem::take(&mut self.deferred) {
            let stranger = batch
                .request_id
                .as_ref()
                .and_then(|id| self.beside.remove(id));
            let line = stranger.and_then(|id| self.by_batch.remove(&id));
            self.place(&batch, line);
        }
        if !self.names_ours {
            for (request_id, id) in self.beside.drain() {
                self.by_request
                    .extend(self.by_batch.remove(&id).map(|line| (request_id, line)));
            }
        }
    }

    /// Matches lines whose request id the record does not know with batches whose request id it
    /// does not know: first those that must be on the invoice, then those that may be.
    fn pair_nameless(&mut self) {
        let mut lines: Vec<_> = self
            .by_request
            .drain()
            .map(|(id, line)| (line, id))
            .collect();
        lines.sort_unstable();
        let (mut left, result) = (lines.len() as u64, &mut self.result);
        let mut pair = |batches: u64| {
            let pairs = left.min(batches);
            left -= pairs;
            pairs
        };
        let Nameless {
            mut confirmed,
            mut unconfirmed,
            optional,
        } = std::mem::take(&mut self.nameless);
        let pairs = pair(confirmed.count);
        result.matched += pairs;
        confirmed.count -= pairs;
        result.recorded_not_billed.append(confirmed);

        let pairs = pair(unconfirmed.count);
        result.explained_by_unconfirmed.count += pairs;
        unconfirmed.count -= pairs;
        result.unconfirmed_not_billed.append(unconfirmed);

        let pairs = pair(optional);
        result.explained_by_unconfirmed.count += pairs;
        result.record.unconfirmed += pairs;

        let named = lines.into_iter().map(|(line, id)| Example {
            request_id: Some(id),
            line: Some(line),
            ..Example::default()
        });
        result.billed_not_recorded.append(Finding {
            count: left,
            examples: named.take(EXAMPLES_MAX).collect(),
        });
    }
}

fn example(batch: &Recorded, line: Option<u32>) -> Example {
    Example {
        batch_id: Some(batch.id.to_string()),
        line,
        ..Example::default()
    }
}
