//! The runs: which events meet in which configuration.

use super::sets::Set;
use super::settings::Event::{self, *};
use super::settings::{Key, Settings, Told};

const ANY_REPORT: &[Told] = &[Told::Confirmed, Told::Delivered, Told::Failed];

fn two(name: &'static str, events: &[(Event, u8)]) -> Settings {
    Settings::new(name).with(events)
}

fn one(name: &'static str, events: &[(Event, u8)]) -> Settings {
    Settings { messages: 1, ..two(name, events) }
}

fn keyed(settings: Settings) -> Settings {
    Settings { key: Key::Lasting, ..settings }
}

fn expiring(settings: Settings) -> Settings {
    Settings { key: Key::Expiring, ..settings }
}

/// Seconds in a debug build.
pub(super) fn small() -> Vec<Settings> {
    let poison = Set::of(0);
    let unwanted = Set::of(1);
    let troubles = [(Crash, 1), (Unanswered, 1), (Premature, 1), (Error, 1)];
    vec![
        two("nothing happens", &[]),
        two("a crash", &[(Crash, 1)]),
        two("a doubt", &[(Unanswered, 1)]),
        two("a lost answer", &[(Lost, 1)]),
        two("a refused batch", &[(Refusal, 1), (Duplicate, 1)]),
        one("troubles", &troubles),
        keyed(one("troubles, with a key", &troubles)),
        expiring(one("a doubt, with a key that expires", &[(Crash, 1), (Unanswered, 2)])),
        Settings { sweeps: 2, ..keyed(one("two sweeps", &[(Crash, 1), (Premature, 2)])) },
        one("a lost answer and a sweep", &[(Lost, 1), (Premature, 1), (Crash, 1)]),
        keyed(one("a straggler", &[(Straggler, 1), (Premature, 1), (Error, 1)])),
        Settings { poison, ..two("a poison message", &[(Crash, 1)]) },
        Settings { unwanted, attempts_max: 1, ..keyed(two("an unwanted message", &[(Unanswered, 1)])) },
        one("a message that expires", &[(Lapse, 1), (Premature, 1), (Duplicate, 1)]),
        Settings { reports: ANY_REPORT, reports_max: 2, ..one("any report", &[(Unanswered, 1), (Crash, 1)]) },
        Settings { attempts_max: 1, ..keyed(one("an operator", &[(Word, 1), (Unanswered, 1), (Crash, 1)])) },
    ]
}

/// Minutes in a release build.
pub(super) fn large() -> Vec<Settings> {
    [two_messages(), one_message(), extensions()].concat()
}

fn two_messages() -> Vec<Settings> {
    vec![
        two("two, doubts", &[(Crash, 1), (Unanswered, 1), (Duplicate, 1), (Premature, 1)]),
        two("two, lost answers", &[(Lost, 1), (Crash, 1), (Premature, 1)]),
        two("two, lost answers and errors", &[(Lost, 1), (Error, 2)]),
        two("two, errors and crashes", &[(Error, 2), (Crash, 1), (Premature, 1)]),
        keyed(two("two, key", &[(Crash, 1), (Unanswered, 1), (Error, 1), (Premature, 1)])),
        keyed(two("two, key, many doubts", &[(Unanswered, 2), (Error, 2), (Premature, 1)])),
        Settings {
            errors_max: 2,
            attempts_max: 1,
            ..two("two, errors", &[(Error, 2), (Unanswered, 1), (Duplicate, 1)])
        },
        two("two, crashes", &[(Crash, 2)]),
        keyed(two("two, key, crashes", &[(Crash, 2)])),
    ]
}

fn one_message() -> Vec<Settings> {
    let errors = [(Error, 3), (Crash, 1), (Unanswered, 1), (Premature, 1), (Lost, 1), (Duplicate, 1)];
    let all = [(Crash, 2), (Unanswered, 2), (Error, 2), (Premature, 2), (Duplicate, 1)];
    vec![
        Settings {
            reports_max: 2,
            ..one("one, crashes", &[(Crash, 2), (Unanswered, 1), (Duplicate, 2), (Premature, 2)])
        },
        one("one, lost answers", &[(Crash, 2), (Error, 2), (Lost, 1), (Premature, 2), (Unanswered, 1)]),
        Settings { attempts_max: 3, reports_max: 2, ..keyed(one("one, key, crashes and doubts", &all)) },
        Settings { errors_max: 3, attempts_max: 1, reports_max: 2, ..one("one, errors", &errors) },
        Settings { errors_max: 3, attempts_max: 1, ..keyed(one("one, key, errors", &errors)) },
    ]
}

fn extensions() -> Vec<Settings> {
    let poison = Set::of(0);
    let unwanted = Set::of(1);
    vec![
        Settings { poison, ..two("poison", &[(Crash, 1), (Unanswered, 1), (Premature, 1)]) },
        Settings { poison, ..keyed(two("poison, key", &[(Crash, 1), (Unanswered, 1)])) },
        Settings { errors_max: 2, ..two("refusals", &[(Refusal, 2), (Crash, 1), (Lost, 1)]) },
        Settings { unwanted, ..keyed(two("unwanted, key", &[(Unanswered, 1), (Crash, 1), (Premature, 1)])) },
        Settings { sweeps: 2, ..two("two sweeps", &[(Crash, 1), (Premature, 1), (Unanswered, 1)]) },
        Settings {
            sweeps: 2,
            ..keyed(one("two sweeps, key", &[(Crash, 2), (Premature, 2), (Unanswered, 1), (Error, 1)]))
        },
        Settings {
            sweeps: 2,
            ..expiring(one("two sweeps, expiring", &[(Crash, 2), (Premature, 1), (Unanswered, 2), (Error, 1)]))
        },
        expiring(two("expiring", &[(Crash, 1), (Unanswered, 1)])),
        two("stragglers", &[(Straggler, 1), (Crash, 1), (Refusal, 1)]),
        keyed(one("stragglers, key", &[(Straggler, 1), (Crash, 1), (Unanswered, 1), (Premature, 1), (Error, 2)])),
        Settings {
            sweeps: 2,
            attempts_max: 1,
            ..keyed(one("operator, key", &[(Word, 1), (Unanswered, 2), (Crash, 1), (Straggler, 1)]))
        },
        Settings { attempts_max: 1, ..expiring(two("operator, expiring", &[(Word, 1), (Unanswered, 1)])) },
        Settings {
            reports: ANY_REPORT,
            reports_max: 3,
            ..one("any reports", &[(Unanswered, 1), (Crash, 2), (Premature, 1), (Lost, 1)])
        },
        two("lapses", &[(Lapse, 1), (Crash, 1), (Error, 1)]),
    ]
}
