//! The runs: which events meet in which configuration.

use super::settings::Event::{self, *};
use super::settings::Settings;

/// A run with two messages.
fn two(name: &'static str, events: &[(Event, u8)]) -> Settings {
    Settings::new(name).with_events(events)
}

/// A run with one message.
fn one(name: &'static str, events: &[(Event, u8)]) -> Settings {
    Settings {
        messages: 1,
        ..two(name, events)
    }
}

/// These take seconds in a debug build.
pub(super) fn small() -> Vec<Settings> {
    let troubles = [(Crash, 1), (Unanswered, 1), (Premature, 1), (Error, 1)];
    let after_doubt = [(Unanswered, 1), (Crash, 1)];
    vec![
        two("nothing happens", &[]),
        two("a crash", &[(Crash, 1)]),
        two("a doubt", &[(Unanswered, 1)]),
        two("a lost answer", &[(Lost, 1)]),
        two("a refused batch", &[(Refusal, 1), (Duplicate, 1)]),
        one("troubles", &troubles),
        one("troubles, with a key", &troubles).keyed(),
        one(
            "a doubt, with a key that expires",
            &[(Crash, 1), (Unanswered, 2)],
        )
        .expiring(),
        one("two sweeps", &[(Crash, 1), (Premature, 2)])
            .keyed()
            .two_sweeps(),
        one(
            "a lost answer and a sweep",
            &[(Lost, 1), (Premature, 1), (Crash, 1)],
        ),
        one("a straggler", &[(Straggler, 1), (Premature, 1), (Error, 1)]).keyed(),
        two("a poison message", &[(Crash, 1)]).poisoned(),
        two("an unwanted message", &[(Unanswered, 1)])
            .keyed()
            .with_attempts(1)
            .with_unwanted(),
        one(
            "a message that expires",
            &[(Lapse, 1), (Premature, 1), (Duplicate, 1)],
        ),
        one("any report", &after_doubt)
            .with_any_report()
            .with_reports(2),
        one("an operator", &[(Decision, 1), (Unanswered, 1), (Crash, 1)])
            .keyed()
            .with_attempts(1),
    ]
}

/// These take minutes in a release build.
pub(super) fn large() -> Vec<Settings> {
    [
        two_messages(),
        one_message(),
        refusals(),
        several_sweeps(),
        late_writes(),
        reports_and_decisions(),
    ]
    .concat()
}

fn two_messages() -> Vec<Settings> {
    let doubts = [(Crash, 1), (Unanswered, 1), (Duplicate, 1), (Premature, 1)];
    let keyed = [(Crash, 1), (Unanswered, 1), (Error, 1), (Premature, 1)];
    let errors = [(Error, 2), (Unanswered, 1), (Duplicate, 1)];
    vec![
        two("two, doubts", &doubts),
        two(
            "two, lost answers",
            &[(Lost, 1), (Crash, 1), (Premature, 1)],
        ),
        two("two, lost answers and errors", &[(Lost, 1), (Error, 2)]),
        two(
            "two, errors and crashes",
            &[(Error, 2), (Crash, 1), (Premature, 1)],
        ),
        two("two, key", &keyed).keyed(),
        two(
            "two, key, many doubts",
            &[(Unanswered, 2), (Error, 2), (Premature, 1)],
        )
        .keyed(),
        two("two, errors", &errors).with_errors(2).with_attempts(1),
        two("two, crashes", &[(Crash, 2)]),
        two("two, key, crashes", &[(Crash, 2)]).keyed(),
    ]
}

fn one_message() -> Vec<Settings> {
    let crashes = [(Crash, 2), (Unanswered, 1), (Duplicate, 2), (Premature, 2)];
    let lost = [
        (Crash, 2),
        (Error, 2),
        (Lost, 1),
        (Premature, 2),
        (Unanswered, 1),
    ];
    let all = [
        (Crash, 2),
        (Unanswered, 2),
        (Error, 2),
        (Premature, 2),
        (Duplicate, 1),
    ];
    let mut errors = vec![(Error, 3), (Crash, 1), (Unanswered, 1)];
    errors.extend([(Premature, 1), (Lost, 1), (Duplicate, 1)]);
    vec![
        one("one, crashes", &crashes).with_reports(2),
        one("one, lost answers", &lost),
        one("one, key, crashes and doubts", &all)
            .keyed()
            .with_attempts(3)
            .with_reports(2),
        one("one, errors", &errors)
            .with_errors(3)
            .with_attempts(1)
            .with_reports(2),
        one("one, key, errors", &errors)
            .keyed()
            .with_errors(3)
            .with_attempts(1),
    ]
}

fn refusals() -> Vec<Settings> {
    vec![
        two("poison", &[(Crash, 1), (Unanswered, 1), (Premature, 1)]).poisoned(),
        two("poison, key", &[(Crash, 1), (Unanswered, 1)])
            .keyed()
            .poisoned(),
        two("refusals", &[(Refusal, 2), (Crash, 1), (Lost, 1)]).with_errors(2),
        two(
            "unwanted, key",
            &[(Unanswered, 1), (Crash, 1), (Premature, 1)],
        )
        .keyed()
        .with_unwanted(),
    ]
}

fn several_sweeps() -> Vec<Settings> {
    let keyed = [(Crash, 2), (Premature, 2), (Unanswered, 1), (Error, 1)];
    let expiring = [(Crash, 2), (Premature, 1), (Unanswered, 2), (Error, 1)];
    vec![
        two("two sweeps", &[(Crash, 1), (Premature, 1), (Unanswered, 1)]).two_sweeps(),
        one("two sweeps, key", &keyed).keyed().two_sweeps(),
        one("two sweeps, expiring", &expiring)
            .expiring()
            .two_sweeps(),
        two("expiring", &[(Crash, 1), (Unanswered, 1)]).expiring(),
    ]
}

fn late_writes() -> Vec<Settings> {
    let keyed = [
        (Straggler, 1),
        (Crash, 1),
        (Unanswered, 1),
        (Premature, 1),
        (Error, 2),
    ];
    vec![
        two("stragglers", &[(Straggler, 1), (Crash, 1), (Refusal, 1)]),
        one("stragglers, key", &keyed).keyed(),
    ]
}

fn reports_and_decisions() -> Vec<Settings> {
    let keyed = [(Decision, 1), (Unanswered, 2), (Crash, 1), (Straggler, 1)];
    let expiring = [(Decision, 1), (Unanswered, 1)];
    let reports = [(Unanswered, 1), (Crash, 2), (Premature, 1), (Lost, 1)];
    vec![
        one("operator, key", &keyed)
            .keyed()
            .two_sweeps()
            .with_attempts(1),
        two("operator, expiring", &expiring)
            .expiring()
            .with_attempts(1),
        one("any reports", &reports)
            .with_any_report()
            .with_reports(3),
        two("lapses", &[(Lapse, 1), (Crash, 1), (Error, 1)]),
    ]
}
