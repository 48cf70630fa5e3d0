//! The reports about one message, and what they do to it by the rules of [`domain::state`].

use domain::message::Message;
use domain::state::{DeliveryReport, ReportEffect};
use jiff::Timestamp;
use record::RecordError;
use record::transitions::Transition;

use crate::update_result::UpdateResult;

/// The reports about one message, in the order of the call, and the message as it was read.
pub(crate) struct MessageReports {
    pub(crate) seen: Message,
    /// The message now belongs to another batch or provider than the one that reports it.
    pub(crate) elsewhere: bool,
    /// Each report with its place in the call.
    pub(crate) reports: Vec<(usize, DeliveryReport)>,
}

/// What the reports about a message do, in their order.
pub(crate) struct Decision {
    pub(crate) results: Vec<(usize, UpdateResult)>,
    /// The last report that changes the message's state. `None` if the state stays as it is.
    pub(crate) changed_by: Option<DeliveryReport>,
    contradicts: bool,
}

impl MessageReports {
    /// Decides what becomes of the message and of each report.
    pub(crate) fn decide(&self) -> Decision {
        let mut state = self.seen.state;
        let mut decision = Decision {
            results: Vec::new(),
            changed_by: None,
            contradicts: false,
        };
        for &(n, report) in &self.reports {
            let effect = if self.elsewhere {
                state.after_report_elsewhere(report)
            } else {
                state.after_report(report)
            };
            let result = UpdateResult::of(effect);
            decision.results.push((n, result));
            if matches!(
                effect,
                ReportEffect::Moves(_) | ReportEffect::Contradicts(_)
            ) {
                decision.contradicts |= result == UpdateResult::Contradicted;
                decision.changed_by = Some(report);
                state = report.state();
            }
        }
        decision
    }

    /// W9, if the decision changes the message's state: one write, however many reports there are.
    pub(crate) fn transition(
        &self,
        decision: &Decision,
        now: Timestamp,
    ) -> Option<Result<Transition, RecordError>> {
        let report = decision.changed_by?;
        Some(Transition::report(
            &self.seen,
            report,
            decision.contradicts,
            now,
        ))
    }
}
