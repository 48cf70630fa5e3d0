//! Ledgers by chance: each one's own invoice is right, and one that was tampered with never is.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::invoice::{Format, Lines};

const FROM_MS: i64 = 1_795_262_400_000;
const PERIOD_MS: i64 = 3_600_000;
/// A batch in the middle of the period, far from its edges.
const INSIDE_MS: i64 = 1_800_000;
/// Of the key of a provider that has keys.
const LIFETIME_S: u64 = 1_200;
const LIFETIME_MS: i64 = LIFETIME_S as i64 * 1_000;

/// What an invoice names its requests by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Ours,
    Theirs,
    /// By our id and the provider's.
    Both,
    /// By the provider's id, beside another id of the provider's that looks like ours.
    Lookalike,
}

fn named() -> impl Strategy<Value = Named> {
    select(vec![Named::Ours, Named::Theirs, Named::Both, Named::Lookalike])
}

/// A batch as it truly was: what the record knows of it, and when it was billed, if it was.
#[derive(Clone, Debug)]
struct Made {
    recorded: Recorded,
    request_id: String,
    billed: Option<Timestamp>,
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(FROM_MS + ms).unwrap()
}

fn terms() -> Terms {
    terms_between(0, PERIOD_MS)
}

/// Of a provider that has keys; what it billed without one was billed within two minutes all the same.
fn terms_between(from_ms: i64, to_ms: i64) -> Terms {
    Terms { from: at(from_ms), to: at(to_ms), price: "0.05".parse().ok(), billed_within: billed_within(LIFETIME_S) }
}

fn id(n: usize, began_ms: i64) -> BatchId {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&(n as u64).to_be_bytes());
    BatchId::new(at(began_ms), chance)
}

/// `billed` counts where the record does not know; `told` says whether the record learned the provider's id. What
/// was billed late was sent late, so the record was written late.
fn made(n: usize, (began_ms, state, delay_ms, billed, told): (i64, BatchState, i64, bool, bool)) -> Made {
    let billed = match state {
        BatchState::Confirmed => true,
        BatchState::Rejected | BatchState::Tomb => false,
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

/// From well before the period to well after it, some settled late by their key. Two batches are always there,
/// inside: one taken, one not.
fn ledger() -> impl Strategy<Value = Vec<Made>> {
    use BatchState::{Confirmed, Rejected, Started, Tomb, Unknown};
    let states = select(vec![Started, Confirmed, Confirmed, Confirmed, Rejected, Unknown, Tomb]);
    let anywhere = prop_oneof![
        -1_500_000..PERIOD_MS + 300_000,
        -130_000_i64..20_000,
        PERIOD_MS - 130_000..PERIOD_MS,
        PERIOD_MS - LIFETIME_MS..PERIOD_MS,
    ];
    let delay = prop_oneof![-9_000_i64..120_000, 0..LIFETIME_MS];
    let batch = (anywhere, states, delay, any::<bool>(), any::<bool>());
    vec(batch, 0..60).prop_map(|mut batches| {
        batches.extend([(INSIDE_MS, Confirmed, 100, true, true), (INSIDE_MS, Rejected, 100, false, false)]);
        batches.into_iter().enumerate().map(|(n, batch)| made(n, batch)).collect()
    })
}

/// The invoice of the period.
fn invoice(ledger: &[Made], named: Named) -> Vec<Line> {
    let billed = ledger.iter().filter_map(|made| Some((made, made.billed.filter(|at| terms().holds(*at))?)));
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
        amount: terms().price,
    };
    billed.enumerate().map(line).collect()
}

fn reconcile(invoice: Vec<Line>, ledger: &[Made]) -> Report {
    reconcile_in(terms(), invoice, ledger)
}

fn reconcile_in(terms: Terms, invoice: Vec<Line>, ledger: &[Made]) -> Report {
    let mut reconciliation = Reconciliation::new(terms);
    invoice.into_iter().for_each(|line| reconciliation.bill(line));
    let (from, to) = terms.reach();
    let within_reach = ledger.iter().filter(|made| (from..to).contains(&made.recorded.id.created_at()));
    within_reach.for_each(|made| reconciliation.hold(&made.recorded));
    reconciliation.finish()
}

/// Changes an invoice in one way; the name of what has to be found.
fn tamper(kind: usize, invoice: &mut Vec<Line>, ledger: &[Made]) -> &'static str {
    let taken = &ledger[ledger.len() - 2];
    let of_taken = |line: &Line| match &line.key {
        Key::Batch(id, request_id) => {
            *id == taken.recorded.id || request_id.as_ref().is_some_and(|id| *id == taken.request_id)
        }
        Key::Request(id) => *id == taken.request_id,
        Key::Foreign(_) => false,
    };
    let position = invoice.iter().position(of_taken).unwrap();
    let line = invoice[position].clone();
    let rejected = ledger[ledger.len() - 1].recorded.id;
    match kind {
        0 => {
            invoice.push(Line { key: Key::Batch(id(9_999, INSIDE_MS), None), ..line });
            "billed_not_recorded"
        }
        1 => {
            invoice.remove(position);
            "recorded_not_billed"
        }
        2 => {
            invoice[position].amount = "0.050001".parse().ok();
            "wrong_amounts"
        }
        3 => {
            invoice.insert(0, line);
            "duplicate_lines"
        }
        4 => {
            let amount = terms().price.map(|price| price * 2);
            invoice[position] = Line { requests: 2, amount, ..line };
            "wrong_requests"
        }
        5 => {
            invoice.push(Line { key: Key::Batch(rejected, None), ..line });
            "billed_though_not_sent"
        }
        6 => {
            invoice.push(Line { at: at(PERIOD_MS), ..line });
            "outside_the_period"
        }
        7 => {
            invoice.push(Line { key: Key::Batch(id(9_999, -86_400_000), None), ..line });
            "of_another_period"
        }
        _ => {
            invoice.push(Line { key: Key::Foreign("B-17".into()), ..line });
            "billed_not_recorded"
        }
    }
}

proptest! {
    #[test]
    fn the_own_invoice_of_any_ledger_is_right(
        ledger in ledger(),
        named in named(),
    ) {
        let invoice = invoice(&ledger, named);
        let lines = invoice.len() as u64;
        let report = reconcile(invoice, &ledger);
        prop_assert_eq!(report.verdict, Verdict::Agrees, "{:?}", report);
        prop_assert_eq!(report.matched + report.explained_by_unconfirmed.count, lines);
        prop_assert_eq!((report.invoice.lines, report.invoice.requests), (lines, lines));
    }

    #[test]
    fn an_invoice_that_was_tampered_with_is_found_and_so_is_the_kind(
        ledger in ledger(),
        named in named(),
        kind in 0_usize..9,
    ) {
        // Who has ids of his own can't name a batch that was not sent.
        prop_assume!((named, kind) != (Named::Lookalike, 5));
        let mut invoice = invoice(&ledger, named);
        let expected = tamper(kind, &mut invoice, &ledger);
        let report = reconcile(invoice, &ledger);
        prop_assert_eq!(report.verdict, Verdict::Disagrees, "{:?}", report);
        for (name, count) in report.errors() {
            prop_assert_eq!(count, u64::from(name == expected), "{}: {:?}", name, report);
        }
    }

    /// A period in two parts: each is right, and together they say what the whole does.
    #[test]
    fn periods_that_adjoin_add_up(
        ledger in ledger(),
        named in select(vec![Named::Ours, Named::Both]),
        cut_ms in 300_000..PERIOD_MS - 300_000,
    ) {
        let part = |from_ms, to_ms| {
            let terms = terms_between(from_ms, to_ms);
            let invoice = invoice(&ledger, named).into_iter().filter(|line| terms.holds(line.at)).collect();
            reconcile_in(terms, invoice, &ledger)
        };
        let parts = [part(0, cut_ms), part(cut_ms, PERIOD_MS)];
        let whole = part(0, PERIOD_MS);
        prop_assert!(parts.iter().all(|part| part.verdict == Verdict::Agrees), "{parts:?}");
        prop_assert_eq!(parts.iter().map(|part| part.matched).sum::<u64>(), whole.matched);
        prop_assert_eq!(parts.iter().map(|part| part.invoice.requests).sum::<u64>(), whole.invoice.requests);
        let explained = |part: &Report| part.explained_by_unconfirmed.count;
        prop_assert_eq!(parts.iter().map(explained).sum::<u64>(), explained(&whole));
        let neither = ledger.iter().filter(|made| !terms().holds(made.recorded.id.created_at())).count() as u64;
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

/// Settled by its key seven minutes after it began, on the other side of the period's end.
#[test]
fn a_doubt_settled_by_its_key_is_on_the_next_invoice_and_only_such_a_one() {
    let (cut_ms, began_ms, billed_ms) = (INSIDE_MS, INSIDE_MS - 300_000, INSIDE_MS + 120_000);
    let late = made(0, (began_ms, BatchState::Confirmed, billed_ms - began_ms, true, true));
    let sides = |made: &Made| {
        [(0, cut_ms), (cut_ms, PERIOD_MS)].map(|(from_ms, to_ms)| {
            let terms = terms_between(from_ms, to_ms);
            let ledger = [made.clone()];
            let invoice = invoice(&ledger, Named::Ours).into_iter().filter(|line| terms.holds(line.at)).collect();
            reconcile_in(terms, invoice, &ledger)
        })
    };
    let [before, after] = sides(&late);
    assert_eq!((before.verdict, before.may_be_on_another_invoice.count), (Verdict::Agrees, 1), "{before:?}");
    assert_eq!((after.verdict, after.matched, after.began_outside), (Verdict::Agrees, 1, 1), "{after:?}");

    let mut at_once = late;
    at_once.recorded.updated_at = at(began_ms + 200);
    let [before, after] = sides(&at_once);
    assert_eq!((before.recorded_not_billed.count, after.of_another_period.count), (1, 1), "no key excuses it");
}

#[test]
fn an_id_of_the_provider_s_own_hides_no_request_id_and_takes_no_other_batch_s_line() {
    let ledger: Vec<_> = (0..3).map(|n| made(n, (INSIDE_MS, BatchState::Confirmed, 100, true, true))).collect();
    let line = |number, batch_id, request_id: &str| Line {
        number,
        key: Key::Batch(batch_id, Some(request_id.into())),
        at: at(INSIDE_MS),
        requests: 1,
        amount: None,
    };
    let ours = |n: usize| ledger[n].recorded.id;
    let report = reconcile(vec![line(1, ours(0), "req_0"), line(2, ours(1), "-"), line(3, id(9, 0), "req_2")], &ledger);
    assert_eq!((report.verdict, report.matched), (Verdict::Agrees, 3), "{report:?}");
    let crossed = reconcile(vec![line(1, ours(1), "req_0"), line(2, ours(2), "req_2")], &ledger);
    let missing = &crossed.recorded_not_billed;
    assert_eq!((crossed.matched, missing.count), (2, 1), "{crossed:?}");
    assert_eq!(missing.examples[0].batch_id, Some(ours(0).to_string()), "our id counts before theirs");
}

#[test]
fn lines_without_our_id_stand_for_batches_without_theirs_and_for_no_more() {
    let ledger = [
        made(0, (INSIDE_MS, BatchState::Confirmed, 100, true, false)),
        made(1, (INSIDE_MS, BatchState::Unknown, 100, true, false)),
    ];
    let own = invoice(&ledger, Named::Theirs);
    let stranger = Line { key: Key::Request("req_9".into()), number: 9, ..own[0].clone() };
    let report = reconcile(own.clone(), &ledger);
    assert_eq!((report.verdict, report.matched, report.explained_by_unconfirmed.count), (Verdict::Agrees, 1, 1));
    let report = reconcile([own, vec![stranger]].concat(), &ledger);
    assert_eq!((report.verdict, report.billed_not_recorded.count), (Verdict::Disagrees, 1));
    let report = reconcile(Vec::new(), &ledger);
    assert_eq!((report.recorded_not_billed.count, report.unconfirmed_not_billed.count), (1, 1));
    assert_eq!(report.recorded_not_billed.examples[0].batch_id, Some(ledger[0].recorded.id.to_string()));
    assert_eq!((report.bound.at_least, report.bound.billed, report.bound.at_most), (1, 0, 2));
}

#[test]
fn examples_are_few_and_counts_are_complete() {
    let ledger: Vec<_> =
        (0..2 * EXAMPLES_MAX).map(|n| made(n, (INSIDE_MS, BatchState::Confirmed, 100, true, true))).collect();
    let report = reconcile(Vec::new(), &ledger);
    assert_eq!((report.recorded_not_billed.count, report.recorded_not_billed.examples.len()), (200, EXAMPLES_MAX));
}

/// What the process holds, in KB: `VmRSS` now, `VmHWM` at most.
fn memory_kb(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[test]
#[ignore = "takes a minute; run it alone, for its memory is what is measured"]
fn a_month_of_one_request_a_second_needs_the_memory_of_one_day_s_invoice() {
    const DAY: usize = 86_400;
    let before_kb = memory_kb("VmRSS");
    for day in 0..30 {
        let began_ms = |n: usize| (day * DAY + n) as i64 * 1_000;
        let rows = (0..DAY).map(|n| format!("{},{},1\n", id(n, began_ms(n)), at(began_ms(n) + 100)));
        let invoice = format!("batch_id,at,requests\n{}", rows.collect::<String>());
        let terms = terms_between(began_ms(0), began_ms(DAY));
        let mut reconciliation = Reconciliation::new(terms);
        for line in Lines::read(Format::Csv, &invoice).unwrap() {
            reconciliation.bill(line.unwrap());
        }
        for n in 0..DAY {
            let request_id = Some(format!("req_{n}"));
            let (id, updated_at) = (id(n, began_ms(n)), at(began_ms(n) + 100));
            reconciliation.hold(&Recorded { id, state: BatchState::Confirmed, request_id, updated_at });
        }
        let report = reconciliation.finish();
        assert_eq!((report.verdict, report.matched, invoice.len() / 1_000_000), (Verdict::Agrees, DAY as u64, 5));
    }
    let grown_mb = (memory_kb("VmHWM") - before_kb) / 1_000;
    eprintln!("30 days of 86,400 requests, an invoice a day: {grown_mb} MB at most, the invoice's text included");
    assert!(grown_mb < 40, "{grown_mb} MB");
}
