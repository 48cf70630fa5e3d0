//! The runs with a broken rule: each is the smallest in which the mutant must show.

use super::settings::Event::{self, *};
use super::settings::{Mutant, Settings};

pub(super) fn all() -> Vec<Settings> {
    [
        recording(),
        keys(),
        refusals(),
        recovery(),
        reports(),
        decisions(),
    ]
    .concat()
}

/// A run with one message.
fn one(mutant: Mutant, events: &[(Event, u8)]) -> Settings {
    Settings {
        messages: 1,
        ..two(mutant, events)
    }
}

/// A run with two messages.
fn two(mutant: Mutant, events: &[(Event, u8)]) -> Settings {
    Settings {
        mutant: Some(mutant),
        ..Settings::new("mutant").with_events(events)
    }
}

/// What is written before and after a request.
fn recording() -> Vec<Settings> {
    vec![
        one(Mutant::IntentAfterRequest, &[(Crash, 1)]),
        one(Mutant::RepeatAfterTimeout, &[(Unanswered, 1)]),
        one(Mutant::NoClaim, &[(Duplicate, 1)]),
        one(Mutant::UnconditionalConfirm, &[]),
        one(Mutant::TimeoutIsNotSent, &[(Unanswered, 1)]),
        one(Mutant::RejectAfterDoubt, &[(Unanswered, 1), (Error, 1)]).keyed(),
        one(Mutant::NoAttemptFence, &[(Error, 2), (Premature, 1)]).keyed(),
        one(Mutant::LostIntentReleases, &[(Lost, 1), (Premature, 1)]).keyed(),
        one(Mutant::TombstoneIgnored, &[(Lost, 1), (Premature, 1)]).keyed(),
        one(Mutant::ExpireClaimed, &[(Lapse, 1)]),
    ]
}

fn keys() -> Vec<Settings> {
    vec![
        one(Mutant::DispatcherOutlivesKey, &[(Unanswered, 1)]).expiring(),
        one(Mutant::SweepOutlivesKey, &[(Crash, 1)]).expiring(),
        one(Mutant::RepeatProves, &[(Crash, 1), (Error, 1)]).keyed(),
    ]
}

fn refusals() -> Vec<Settings> {
    let unwanted = |run: Settings| run.keyed().with_attempts(1).with_unwanted();
    vec![
        two(Mutant::SplitBeforeReject, &[(Refusal, 1)]).keyed(),
        two(Mutant::HalvesGatheredAgain, &[]).poisoned(),
        unwanted(two(Mutant::ReportBeatsRefusal, &[(Unanswered, 1)])),
        unwanted(two(Mutant::RefusalForgotten, &[(Crash, 1), (Premature, 1)])),
    ]
}

fn recovery() -> Vec<Settings> {
    let unconfirmed = [(Unanswered, 1), (Crash, 1)];
    vec![
        one(Mutant::NoTombstone, &[(Premature, 1)]),
        one(Mutant::NoSweep, &[]),
        one(Mutant::LateIsUnsent, &[(Crash, 1)]),
        two(Mutant::NoMembership, &[(Lost, 1), (Crash, 1)]),
        one(Mutant::TombstoneLeftToOther, &[(Premature, 2)]).two_sweeps(),
        one(Mutant::UnconfirmedForgotten, &unconfirmed)
            .keyed()
            .with_attempts(1),
    ]
}

fn reports() -> Vec<Settings> {
    vec![
        one(Mutant::ReportOnlyOnConfirmed, &[(Unanswered, 1)]),
        two(Mutant::ReportSkipsBatch, &[(Unanswered, 1)]),
    ]
}

/// What an operator decides.
fn decisions() -> Vec<Settings> {
    let outdated = [(Decision, 1), (Unanswered, 1)];
    let forgotten = [(Decision, 1), (Unanswered, 1), (Crash, 1)];
    vec![
        one(Mutant::OutdatedDecision, &outdated)
            .keyed()
            .with_attempts(1),
        one(Mutant::DecisionForgotten, &forgotten).with_attempts(1),
    ]
}
