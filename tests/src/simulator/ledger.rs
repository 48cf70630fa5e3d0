//! The provider's ledger: every request that reached it, and every request that it bills.
//!
//! The audit compares the product's record with this ledger. So the ledger shares no code with the
//! record, and a billed entry is never changed or removed. The invoice is derived from it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

/// One billed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Billed {
    pub request_id: String,
    /// The client's id of the batch; empty if the protocol has none.
    pub batch_id: String,
    pub at: Timestamp,
    /// The accepted messages in the order of the request, by the names that the protocol has for
    /// them.
    pub messages: Vec<String>,
    /// The messages that were refused one by one. They were never sent, although the request is
    /// billed.
    pub refused: Vec<String>,
    pub key: Option<String>,
}

/// One request that reached the provider, billed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    pub key: Option<String>,
    pub outcome: Outcome,
}

/// What became of a request, which is not always what its answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not decided yet.
    Open,
    Billed,
    /// It repeated an idempotency key and got the first answer again.
    Replayed,
    /// It was refused as a whole with this HTTP status.
    Refused(u16),
    /// It was dropped, and nothing was accepted.
    Dropped,
}

/// All requests of one provider.
#[derive(Default)]
pub struct Ledger {
    billed: Vec<Billed>,
    seen: Vec<SeenRequest>,
}

/// Identifies a seen request, to record its outcome.
#[derive(Clone, Copy)]
pub(super) struct SeenIndex(usize);

impl Ledger {
    pub(super) fn arrived(&mut self, at: Timestamp, key: Option<String>) -> SeenIndex {
        self.seen.push(SeenRequest {
            at_ms: at.as_millisecond(),
            key,
            outcome: Outcome::Open,
        });
        SeenIndex(self.seen.len() - 1)
    }

    pub(super) fn decided(&mut self, SeenIndex(index): SeenIndex, outcome: Outcome) {
        self.seen[index].outcome = outcome;
    }

    pub(super) fn bill(&mut self, billed: Billed) {
        self.billed.push(billed);
    }

    pub(super) fn billed(&self) -> &[Billed] {
        &self.billed
    }

    pub(super) fn seen(&self) -> &[SeenRequest] {
        &self.seen
    }

    /// How often each message was accepted. The product promises that it is never more than once.
    pub(super) fn times_sent(&self) -> BTreeMap<&str, usize> {
        let mut times = BTreeMap::new();
        for id in self.billed.iter().flat_map(|billed| &billed.messages) {
            *times.entry(id.as_str()).or_default() += 1;
        }
        times
    }

    /// The invoice: one JSON line for each request billed in `from <= at < to`.
    pub(crate) fn invoice(&self, from: Timestamp, to: Timestamp) -> String {
        self.billed
            .iter()
            .filter(|billed| (from..to).contains(&billed.at))
            .map(|billed| {
                let line = json!({
                    "request_id": billed.request_id,
                    "batch_id": billed.batch_id,
                    "at": billed.at,
                    "messages": billed.messages.len(),
                    "requests": 1,
                });
                format!("{line}\n")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn billed(at_s: i64, messages: &[&str], refused: &[&str]) -> Billed {
        let owned = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect();
        Billed {
            request_id: format!("r{at_s}"),
            batch_id: format!("b{at_s}"),
            at: Timestamp::from_second(at_s).unwrap(),
            messages: owned(messages),
            refused: owned(refused),
            key: None,
        }
    }

    #[test]
    fn a_refused_message_was_not_sent() {
        let mut ledger = Ledger::default();
        ledger.bill(billed(1, &["a", "b"], &["c"]));
        ledger.bill(billed(2, &["b", "c"], &[]));
        assert_eq!(
            ledger.times_sent(),
            BTreeMap::from([("a", 1), ("b", 2), ("c", 1)])
        );
    }

    #[test]
    fn an_invoice_begins_at_from_and_ends_before_to() {
        let mut ledger = Ledger::default();
        for at_s in 1..=4 {
            ledger.bill(billed(at_s, &["a"], &[]));
        }
        let from = Timestamp::from_second(2).unwrap();
        let to = Timestamp::from_second(4).unwrap();
        let invoice = ledger.invoice(from, to);
        let ids: Vec<serde_json::Value> = invoice
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].take()
            })
            .collect();
        assert_eq!(ids, ["r2", "r3"]);
    }
}
