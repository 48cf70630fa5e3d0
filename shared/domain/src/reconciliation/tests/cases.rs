//! Cases that random ledgers do not reach, and the memory that a large one takes.

use std::fs;

use super::*;
use crate::invoice::{Format, Lines};

/// Settled by its key seven minutes after it began, on the other side of the period's end.
#[test]
fn a_doubt_settled_by_its_key_is_on_the_next_invoice_and_only_such_a_one() {
    let (cut_ms, began_ms, billed_ms) = (INSIDE_MS, INSIDE_MS - 300_000, INSIDE_MS + 120_000);
    let late = made(
        0,
        (
            began_ms,
            BatchState::Confirmed,
            billed_ms - began_ms,
            true,
            true,
        ),
    );
    let sides = |made: &Made| {
        [(0, cut_ms), (cut_ms, PERIOD_MS)].map(|(from_ms, to_ms)| {
            let scope = terms_between(from_ms, to_ms);
            let ledger = [made.clone()];
            let invoice = invoice(&ledger, Named::Ours)
                .into_iter()
                .filter(|line| scope.holds(line.at))
                .collect();
            reconcile_in(scope, invoice, &ledger)
        })
    };
    let [before, after] = sides(&late);
    assert_eq!(
        (before.verdict, before.may_be_on_another_invoice.count),
        (Verdict::Agrees, 1),
        "{before:?}"
    );
    assert_eq!(
        (after.verdict, after.matched, after.began_outside),
        (Verdict::Agrees, 1, 1),
        "{after:?}"
    );

    let mut at_once = late;
    at_once.recorded.updated_at = at(began_ms + 200);
    let [before, after] = sides(&at_once);
    assert_eq!(
        (
            before.recorded_not_billed.count,
            after.of_another_period.count
        ),
        (1, 1),
        "no key excuses it"
    );
}

#[test]
fn an_id_of_the_provider_s_own_hides_no_request_id_and_takes_no_other_batch_s_line() {
    let ledger: Vec<_> = (0..3)
        .map(|n| made(n, (INSIDE_MS, BatchState::Confirmed, 100, true, true)))
        .collect();
    let line = |number, batch_id, request_id: &str| Line {
        number,
        key: Key::Batch(batch_id, Some(request_id.into())),
        at: at(INSIDE_MS),
        requests: 1,
        amount: None,
    };
    let ours = |n: usize| ledger[n].recorded.id;
    let result = reconcile(
        vec![
            line(1, ours(0), "req_0"),
            line(2, ours(1), "-"),
            line(3, id(9, 0), "req_2"),
        ],
        &ledger,
    );
    assert_eq!(
        (result.verdict, result.matched),
        (Verdict::Agrees, 3),
        "{result:?}"
    );
    let crossed = reconcile(
        vec![line(1, ours(1), "req_0"), line(2, ours(2), "req_2")],
        &ledger,
    );
    let missing = &crossed.recorded_not_billed;
    assert_eq!((crossed.matched, missing.count), (2, 1), "{crossed:?}");
    assert_eq!(
        missing.examples[0].batch_id,
        Some(ours(0).to_string()),
        "our id counts before theirs"
    );
}

#[test]
fn lines_without_our_id_stand_for_batches_without_theirs_and_for_no_more() {
    let ledger = [
        made(0, (INSIDE_MS, BatchState::Confirmed, 100, true, false)),
        made(1, (INSIDE_MS, BatchState::Unknown, 100, true, false)),
    ];
    let own = invoice(&ledger, Named::Theirs);
    let stranger = Line {
        key: Key::Request("req_9".into()),
        number: 9,
        ..own[0].clone()
    };
    let result = reconcile(own.clone(), &ledger);
    assert_eq!(
        (
            result.verdict,
            result.matched,
            result.explained_by_unconfirmed.count
        ),
        (Verdict::Agrees, 1, 1)
    );
    let result = reconcile([own, vec![stranger]].concat(), &ledger);
    assert_eq!(
        (result.verdict, result.billed_not_recorded.count),
        (Verdict::Disagrees, 1)
    );
    let result = reconcile(Vec::new(), &ledger);
    assert_eq!(
        (
            result.recorded_not_billed.count,
            result.unconfirmed_not_billed.count
        ),
        (1, 1)
    );
    assert_eq!(
        result.recorded_not_billed.examples[0].batch_id,
        Some(ledger[0].recorded.id.to_string())
    );
    assert_eq!(
        (
            result.bound.at_least,
            result.bound.billed,
            result.bound.at_most
        ),
        (1, 0, 2)
    );
}

#[test]
fn examples_are_few_and_counts_are_complete() {
    let ledger: Vec<_> = (0..2 * EXAMPLES_MAX)
        .map(|n| made(n, (INSIDE_MS, BatchState::Confirmed, 100, true, true)))
        .collect();
    let result = reconcile(Vec::new(), &ledger);
    assert_eq!(
        (
            result.recorded_not_billed.count,
            result.recorded_not_billed.examples.len()
        ),
        (200, EXAMPLES_MAX)
    );
}

/// The memory of this process in KB: `VmRSS` now, `VmHWM` at most.
fn memory_kb(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}

#[test]
#[ignore = "takes a minute; run it alone, for its memory is what is measured"]
fn a_month_of_one_request_a_second_needs_the_memory_of_one_day_s_invoice() {
    const DAY: usize = 86_400;
    let before_kb = memory_kb("VmRSS");
    for day in 0..30 {
        let began_ms = |n: usize| (day * DAY + n) as i64 * 1_000;
        let rows =
            (0..DAY).map(|n| format!("{},{},1\n", id(n, began_ms(n)), at(began_ms(n) + 100)));
        let invoice = format!("batch_id,at,requests\n{}", rows.collect::<String>());
        let scope = terms_between(began_ms(0), began_ms(DAY));
        let mut reconciliation = Reconciliation::new(scope);
        for line in Lines::read(Format::Csv, &invoice).unwrap() {
            reconciliation.add_line(line.unwrap());
        }
        for n in 0..DAY {
            let request_id = Some(format!("req_{n}"));
            let (id, updated_at) = (id(n, began_ms(n)), at(began_ms(n) + 100));
            reconciliation.add_batch(&Recorded {
                id,
                state: BatchState::Confirmed,
                request_id,
                updated_at,
            });
        }
        let result = reconciliation.finish();
        assert_eq!(
            (result.verdict, result.matched, invoice.len() / 1_000_000),
            (Verdict::Agrees, DAY as u64, 5)
        );
    }
    let grown_mb = (memory_kb("VmHWM") - before_kb) / 1_000;
    eprintln!(
        "30 days of 86,400 requests, an invoice a day: {grown_mb} MB at most, the invoice's text included"
    );
    assert!(grown_mb < 40, "{grown_mb} MB");
}
