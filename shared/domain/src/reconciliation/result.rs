//! The result of a reconciliation, as its caller reads it.

use serde::Serialize;

use crate::invoice::{Key, Line};
use crate::money::Money;

/// Examples that are listed of each kind; the counts are complete.
pub const EXAMPLES_MAX: usize = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    #[default]
    Agrees,
    Disagrees,
}

/// The whole result. The findings on which the verdict does not depend come first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReconciliationResult {
    pub verdict: Verdict,
    pub invoice: InvoiceTotals,
    pub record: RecordTotals,
    pub bound: Bound,
    /// Lines for batches that the provider took.
    pub matched: u64,
    /// Lines for batches in doubt, which they show to have been taken.
    pub explained_by_unconfirmed: Finding,
    /// Batches in doubt that are not billed.
    pub unconfirmed_not_billed: Finding,
    /// Batches without a line that were started or repeated near an edge of the period.
    pub may_be_on_another_invoice: Finding,
    /// How many of the lines above are for batches that started outside the period and may be
    /// billed in it.
    pub began_outside: u64,

    /// Lines for nothing in the record: a request too many.
    pub billed_not_recorded: Finding,
    /// Batches that the provider took and does not bill: a request too few.
    pub recorded_not_billed: Finding,
    /// Lines for batches that were provably not sent.
    pub billed_though_not_sent: Finding,
    /// Further lines for a batch or request that has one.
    pub duplicate_lines: Finding,
    /// Lines that bill another number of requests than one.
    pub wrong_requests: Finding,
    /// Lines whose amount is not the price of their requests.
    pub wrong_amounts: Finding,
    /// Lines billed before or after the period, which count for nothing else.
    pub outside_the_period: Finding,
    /// Lines for batches that cannot have been billed in the period, long before it or after.
    pub of_another_period: Finding,
}

/// Totals of the invoice, without lines outside the period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InvoiceTotals {
    pub lines: u64,
    pub requests: u64,
    /// The sum of the amounts, of lines that have one.
    pub amount: Option<Money>,
}

/// Totals of the record, without batches that may be on another invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordTotals {
    pub confirmed: u64,
    pub unconfirmed: u64,
    pub not_sent: u64,
}

/// The promise: confirmed <= billed <= confirmed + unconfirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bound {
    pub at_least: u64,
    pub billed: u64,
    pub at_most: u64,
    pub holds: bool,
}

/// How many findings of a kind, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub count: u64,
    pub examples: Vec<Example>,
}

/// A line, a batch, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Example {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The number of the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_amount: Option<Money>,
}

impl ReconciliationResult {
    /// The counts that are zero for a correct invoice, by name.
    pub fn errors(&self) -> [(&'static str, u64); 8] {
        [
            ("billed_not_recorded", self.billed_not_recorded.count),
            ("recorded_not_billed", self.recorded_not_billed.count),
            ("billed_though_not_sent", self.billed_though_not_sent.count),
            ("duplicate_lines", self.duplicate_lines.count),
            ("wrong_requests", self.wrong_requests.count),
            ("wrong_amounts", self.wrong_amounts.count),
            ("outside_the_period", self.outside_the_period.count),
            ("of_another_period", self.of_another_period.count),
        ]
    }

    pub(super) fn conclude(&mut self) {
        let (at_least, billed) = (self.record.confirmed, self.invoice.requests);
        let at_most = at_least + self.record.unconfirmed;
        self.bound = Bound {
            at_least,
            billed,
            at_most,
            holds: (at_least..=at_most).contains(&billed),
        };
        let right = self.bound.holds && self.errors().iter().all(|(_, count)| *count == 0);
        self.verdict = if right {
            Verdict::Agrees
        } else {
            Verdict::Disagrees
        };
    }
}

impl Finding {
    pub(super) fn note(&mut self, example: Example) {
        self.append(Self {
            count: 1,
            examples: vec![example],
        });
    }

    /// Adds findings; without any, no example is added.
    pub(super) fn append(&mut self, found: Self) {
        self.count += found.count;
        if found.count > 0 {
            let room = EXAMPLES_MAX - self.examples.len();
            self.examples.extend(found.examples.into_iter().take(room));
        }
    }
}

impl Example {
    pub(super) fn of_line(line: &Line) -> Self {
        let (batch_id, request_id) = match &line.key {
            Key::Batch(id, request_id) => (Some(id.to_string()), request_id.clone()),
            Key::Foreign(id) => (Some(id.clone()), None),
            Key::Request(id) => (None, Some(id.clone())),
        };
        Self {
            batch_id,
            request_id,
            line: Some(line.number),
            ..Self::default()
        }
    }
}
