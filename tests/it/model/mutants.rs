//! The runs with a broken rule: each the smallest in which that must show.

use super::sets::Set;
use super::settings::Event::{self, *};
use super::settings::{Key, Mutant, Settings};

pub(super) fn all() -> Vec<Settings> {
    let one = |mutant: Mutant, events: &[(Event, u8)]| Settings {
        messages: 1,
        mutant: Some(mutant),
        ..Settings::new("one").with(events)
    };
    let two = |mutant: Mutant, events: &[(Event, u8)]| Settings { messages: 2, ..one(mutant, events) };
    let keyed = |settings: Settings| Settings { key: Key::Lasting, ..settings };
    vec![
        one(Mutant::NoTombstone, &[(Premature, 1)]),
        one(Mutant::IntentAfterRequest, &[(Crash, 1)]),
        one(Mutant::RepeatAfterTimeout, &[(Unanswered, 1)]),
        one(Mutant::NoClaim, &[(Duplicate, 1)]),
        one(Mutant::UnconditionalConfirm, &[]),
        one(Mutant::NoSweep, &[]),
        one(Mutant::TimeoutIsNotSent, &[(Unanswered, 1)]),
        one(Mutant::LateIsUnsent, &[(Crash, 1)]),
        one(Mutant::ReportOnlyOnConfirmed, &[(Unanswered, 1)]),
        two(Mutant::NoMembership, &[(Lost, 1), (Crash, 1)]),
        keyed(one(Mutant::RejectAfterDoubt, &[(Unanswered, 1), (Error, 1)])),
        keyed(one(Mutant::NoAttemptFence, &[(Error, 2), (Premature, 1)])),
        keyed(two(Mutant::SplitBeforeReject, &[(Refusal, 1)])),
        Settings { poison: Set::of(0), ..two(Mutant::HalvesGatheredAgain, &[]) },
        Settings { sweeps: 2, ..one(Mutant::TombLeftToTheOther, &[(Premature, 2)]) },
        Settings { key: Key::Expiring, ..one(Mutant::CourierOutlivesKey, &[(Unanswered, 1)]) },
        Settings { key: Key::Expiring, ..one(Mutant::SweepOutlivesKey, &[(Crash, 1)]) },
        keyed(one(Mutant::RepeatProves, &[(Crash, 1), (Error, 1)])),
        keyed(one(Mutant::LostIntentReleases, &[(Lost, 1), (Premature, 1)])),
        keyed(one(Mutant::AbandonWithoutProof, &[(Lost, 1), (Premature, 1)])),
        one(Mutant::ExpireClaimed, &[(Lapse, 1)]),
        two(Mutant::ReportSkipsBatch, &[(Unanswered, 1)]),
        Settings {
            attempts_max: 1,
            unwanted: Set::of(1),
            ..keyed(two(Mutant::ReportBeatsRefusal, &[(Unanswered, 1)]))
        },
        Settings {
            attempts_max: 1,
            unwanted: Set::of(1),
            ..keyed(two(Mutant::RefusalForgotten, &[(Crash, 1), (Premature, 1)]))
        },
        Settings { attempts_max: 1, ..keyed(one(Mutant::UnconfirmedForgotten, &[(Unanswered, 1), (Crash, 1)])) },
        Settings { attempts_max: 1, ..keyed(one(Mutant::WordOutdated, &[(Word, 1), (Unanswered, 1)])) },
        Settings { attempts_max: 1, ..one(Mutant::WordForgotten, &[(Word, 1), (Unanswered, 1), (Crash, 1)]) },
    ]
}
