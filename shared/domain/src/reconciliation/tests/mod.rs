//! Random ledgers: the invoice of each agrees with it, and one that was tampered with never does.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

mod cases;

const FROM_MS: i64 = 1_795_262_400_000;
const PERIOD_MS: i64 = 3_600_000;
/// A batch in the middle of the period, far from its edges.
const INSIDE_MS: i64 = 1_800_000;
/// The lifetime of the key of a provider that has keys.
const LIFETIME_S: u64 = 1_200;
const LIFETIME_MS: i64 = LIFETIME_S as i64 * 1_000;

/// How an invoice names its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Ours,
    Theirs,
    /// By our id and the provider's.
    Both,
    /// By the provider's id, beside another of its ids that looks like ours.
    Lookalike,
}

fn named() -> impl Strategy<Value = Named> {
    select(vec![
        Named::Ours,
        Named::Theirs,
        Named::Both,
        Named::Lookalike,
    ])
}

/// A batch as it really was: what the record knows of it, and when it was billed, if it was.
#[derive(Clone, Debug)]
struct Made {
    recorded: Recorded,
    request_id: String,
    billed: Option<Timestamp>,
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(FROM_MS + ms).unwrap()
}

fn scope() -> Scope {
    terms_between(0, PERIOD_MS)
}

/// The scope of a provider that has keys; batches without a repeat are billed within two minutes
/// all the same.
fn terms_between(from_ms: i64, to_ms: i64) -> Scope {
    Scope {
        from: at(from_ms),
        to: at(to_ms),
        price: "0.05".parse().ok(),
        billed_within: billed_within(LIFETIME_S),
    }
}

fn id(n: usize, began_ms: i64) -> BatchId {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&(n as u64).to_be_bytes());
    BatchId::new(at(began_ms), chance)
}

/// `billed` counts where the record is in doubt; `told` says whether the record learned the
/// provider's id. A batch that was billed late was sent late, so its item was written late.
fn made(
    n: usize,
    (began_ms, state, delay_ms, billed, told): (i64, BatchState, i64, bool, bool),
) -> Made {
    let billed = match state {
        BatchState::Confirmed => true,
        BatchState::Rejected | BatchState::Abandoned => false,
        BatchState::Started | BatchState::Unknown => billed,
    };
    let request_id = format!("req_{n}");
    let told = told && state == BatchState::Confirmed;
    Made {
        recorded: Recorded {
            id: id(n, began_ms),
            state,
            request_id: told.then(|| request_id.clone()),
            updated_at: at(began_ms + delay_ms.max(0)),
        },
        request_id,
        billed: billed.then(|| at(began_ms + delay_ms)),
    }
}

/// Batches from well before the period to well after it, some settled late by their key. Two are
/// always inside: one taken, one not.
fn ledger() -> impl Strategy<Value = Vec<Made>> {
    use BatchState::{Abandoned, Confirmed, Rejected, Started, Unknown};
    let states = select(vec![
        Started, Confirmed, Confirmed, Confirmed, Rejected, Unknown, Abandoned,
    ]);
    let anywhere = prop_oneof![
        -1_500_000..PERIOD_MS + 300_000,
        -130_000_i64..20_000,
        PERIOD_MS - 130_000..PERIOD_MS,
        PERIOD_MS - LIFETIME_MS..PERIOD_MS,
    ];
    let delay = prop_oneof![-9_000_i64..120_000, 0..LIFETIME_MS];
    let batch = (anywhere, states, delay, any::<bool>(), any::<bool>());
    vec(batch, 0..60).prop_map(|mut batches| {
        batches.extend([
            (INSIDE_MS, Confirmed, 100, true, true),
            (INSIDE_MS, Rejected, 100, false, false),
        ]);
        batches
            .into_iter()
            .enumerate()
            .map(|(n, batch)| made(n, batch))
            .collect()
    })
}

/// The invoice of the period.
fn invoice(ledger: &[Made], named: Named) -> Vec<Line> {
    let billed = ledger
        .iter()
        .filter_map(|made| Some((made, made.billed.filter(|at| scope().holds(*at))?)));
    let line = |(n, (made, at)): (usize, (&Made, Timestamp))| Line {
        number: n as u32 + 1,
        key: match named {
            Named::Ours => Key::Batch(made.recorded.id, None),
            Named::Theirs => Key::Request(made.request_id.clone()),
            Named::Both => Key::Batch(made.recorded.id, Some(made.request_id.clone())),
            Named::Lookalike => {
                let billed_ms = at.as_millisecond() - FROM_MS;
                Key::Batch(id(n + 100_000, billed_ms), Some(made.request_id.clone()))
            }
        },
        at,
        requests: 1,
        amount: scope().price,
    };
    billed.enumerate().map(line).collect()
}

fn reconcile(invoice: Vec<Line>, ledger: &[Made]) -> ReconciliationResult {
    reconcile_in(scope(), invoice, ledger)
}

fn reconcile_in(scope: Scope, invoice: Vec<Line>, ledger: &[Made]) -> ReconciliationResult {
    let mut reconciliation = Reconciliation::new(scope);
    invoice
        .into_iter()
        .for_each(|line| reconciliation.add_line(line));
    let (from, to) = scope.reach();
    let within_reach = ledger
        .iter()
        .filter(|made| (from..to).contains(&made.recorded.id.created_at()));
    within_reach.for_each(|made| reconciliation.add_batch(&made.recorded));
    reconciliation.finish()
}

/// Where an invoice bills this batch.
fn position_of(made: &Made, invoice: &[Line]) -> usize {
    let bills_it = |line: &Line| match &line.key {
        Key::Batch(id, request_id) => {
            *id == made.recorded.id || request_id.as_ref() == Some(&made.request_id)
        }
        Key::Request(id) => *id == made.request_id,
        Key::Foreign(_) => false,
    };
    invoice.iter().position(bills_it).unwrap()
}

/// Changes an invoice in one way; returns the name of the finding that it must cause.
fn tamper(kind: usize, invoice: &mut Vec<Line>, ledger: &[Made]) -> &'static str {
    let position = position_of(&ledger[ledger.len() - 2], invoice);
    let line = invoice[position].clone();
    let rejected = ledger[ledger.len() - 1].recorded.id;
    let changed = match kind {
        1 => {
            invoice.remove(position);
            return "recorded_not_billed";
        }
        2 => (
            "wrong_amounts",
            Line {
                amount: "0.050001".parse().ok(),
                ..line
            },
        ),
        3 => ("duplicate_lines", line),
        4 => {
            let amount = scope().price.map(|price| price * 2);
            (
                "wrong_requests",
                Line {
                    requests: 2,
                    amount,
                    ..line
                },
            )
        }
        5 => (
            "billed_though_not_sent",
            Line {
                key: Key::Batch(rejected, None),
                ..line
            },
        ),
        6 => (
            "outside_the_period",
            Line {
                at: at(PERIOD_MS),
                ..line
            },
        ),
        7 => {
            let key = Key::Batch(id(9_999, -86_400_000), None);
            ("of_another_period", Line { key, ..line })
        }
        0 => {
            let key = Key::Batch(id(9_999, INSIDE_MS), None);
            ("billed_not_recorded", Line { key, ..line })
        }
        _ => (
            "billed_not_recorded",
            Line {
                key: Key::Foreign("B-17".into()),
                ..line
            },
        ),
    };
    if matches!(kind, 2 | 4) {
        invoice[position] = changed.1;
    } else {
        invoice.push(changed.1);
    }
    changed.0
}

proptest! {
    #[test]
    fn the_own_invoice_of_any_ledger_is_right(
        ledger in ledger(),
        named in named(),
    ) {
        let invoice = invoice(&ledger, named);
        let lines = invoice.len() as u64;
        let result = reconcile(invoice, &ledger);
        prop_assert_eq!(result.verdict, Verdict::Agrees, "{:?}", result);
        prop_assert_eq!(result.matched + result.explained_by_unconfirmed.count, lines);
        prop_assert_eq!((result.invoice.lines, result.invoice.requests), (lines, lines));
    }

    #[test]
    fn an_invoice_that_was_tampered_with_is_found_and_so_is_the_kind(
        ledger in ledger(),
        named in named(),
        kind in 0_usize..9,
    ) {
        // An invoice with the provider's own ids cannot name a batch that was not sent.
        prop_assume!((named, kind) != (Named::Lookalike, 5));
        let mut invoice = invoice(&ledger, named);
        let expected = tamper(kind, &mut invoice, &ledger);
        let result = reconcile(invoice, &ledger);
        prop_assert_eq!(result.verdict, Verdict::Disagrees, "{:?}", result);
        for (name, count) in result.errors() {
            prop_assert_eq!(count, u64::from(name == expected), "{}: {:?}", name, result);
        }
    }

    /// A period in two parts: each agrees, and together they give what the whole gives.
    #[test]
    fn periods_that_adjoin_add_up(
        ledger in ledger(),
        named in select(vec![Named::Ours, Named::Both]),
        cut_ms in 300_000..PERIOD_MS - 300_000,
    ) {
        let part = |from_ms, to_ms| {
            let scope = terms_between(from_ms, to_ms);
            let invoice = invoice(&ledger, named).into_iter().filter(|line| scope.holds(line.at)).collect();
            reconcile_in(scope, invoice, &ledger)
        };
        let parts = [part(0, cut_ms), part(cut_ms, PERIOD_MS)];
        let whole = part(0, PERIOD_MS);
        prop_assert!(parts.iter().all(|part| part.verdict == Verdict::Agrees), "{parts:?}");
        prop_assert_eq!(parts.iter().map(|part| part.matched).sum::<u64>(), whole.matched);
        prop_assert_eq!(parts.iter().map(|part| part.invoice.requests).sum::<u64>(), whole.invoice.requests);
        let explained = |part: &ReconciliationResult| part.explained_by_unconfirmed.count;
        prop_assert_eq!(parts.iter().map(explained).sum::<u64>(), explained(&whole));
        let neither = ledger.iter().filter(|made| !scope().holds(made.recorded.id.created_at())).count() as u64;
        prop_assert!(parts[1].began_outside <= parts[0].may_be_on_another_invoice.count + neither);
    }

    /// The batches may be read in any order.
    #[test]
    fn the_order_of_the_batches_changes_no_count(ledger in ledger(), named in named(), kind in 0_usize..9) {
        let mut invoice = invoice(&ledger, named);
        tamper(kind, &mut invoice, &ledger);
        let backwards: Vec<_> = ledger.iter().rev().cloned().collect();
        let [one, other] = [&ledger, &backwards].map(|ledger| reconcile(invoice.clone(), ledger));
        prop_assert_eq!((one.matched, one.errors(), &one.bound), (other.matched, other.errors(), &other.bound));
    }
}
