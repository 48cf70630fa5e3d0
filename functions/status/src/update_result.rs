//! What became of one update, as the answer of the call says it.

use domain::delivery_report::{Unreadable, Update};
use domain::state::ReportEffect;
use serde::Serialize;

/// What became of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UpdateResult {
    Recorded,
    Repeated,
    Stale,
    /// Recorded, although the record had said that the message was not sent.
    Contradicted,
    UnknownId,
    NotAStatus,
    Malformed,
}

impl UpdateResult {
    pub(crate) fn of(effect: ReportEffect) -> Self {
        match effect {
            ReportEffect::Moves(_) => UpdateResult::Recorded,
            ReportEffect::Contradicts(_) => UpdateResult::Contradicted,
            ReportEffect::Repeated => UpdateResult::Repeated,
            ReportEffect::Stale => UpdateResult::Stale,
        }
    }

    /// The result of an update until its message has been found.
    pub(crate) fn initial(update: &Update) -> Self {
        match update.read {
            Ok(_) | Err(Unreadable::UnknownId) => UpdateResult::UnknownId,
            Err(Unreadable::NotAStatus) => UpdateResult::NotAStatus,
            Err(Unreadable::Malformed) => UpdateResult::Malformed,
        }
    }
}
