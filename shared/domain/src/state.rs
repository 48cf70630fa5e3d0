//! The state machine of a message, and its two public views.
//!
//! A message's stored state only moves forward, with one step back: once it is certain that nothing
//! was sent, SENDING returns to ACCEPTED, and by an operator's decision UNCONFIRMED does. What
//! callers see, `status` and `submission`, are pure functions of it. Every DynamoDB condition that
//! moves a message is generated from [`State::sources`], to which two outcomes of a member add one
//! source each, so code and condition cannot disagree.

use serde::{Deserialize, Serialize};

/// The stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Recorded; goes out with the next batch.
    Accepted,
    /// Claimed by a batch.
    Sending,
    /// Handed to the provider, which did not answer: sent but not confirmed.
    Unconfirmed,
    /// The provider took it.
    Confirmed,
    /// Provably not sent.
    NotSent,
    /// The phone has it. Final.
    Delivered,
    /// The provider took it and could not deliver it. Final.
    Failed,
}

/// How the delivery stands, in seed 1's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Accepted,
    Confirmed,
    Delivered,
    Failed,
}

/// What the provider may bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Submission {
    Queued,
    Sending,
    Unconfirmed,
    Sent,
    NotSent,
}

/// Why a message ended as NOT_SENT or FAILED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The provider answered with errors until the attempts were used up.
    ProviderError,
    /// The provider refused this very message.
    Rejected,
    /// Its `valid_until` passed before it could be sent.
    Expired,
    /// Its recipient became inactive while it waited.
    RecipientInactive,
    /// Its client cancelled it while it waited.
    Cancelled,
    /// The provider reported that it could not be delivered.
    Undelivered,
    /// The provider reported that there is no such number.
    InvalidRecipient,
}

/// What a provider reports about a message it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryReport {
    Confirmed,
    Delivered,
    Failed(Reason),
}

/// What a report does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportEffect {
    /// The message moves.
    Moves(State),
    /// The message moves, although the record says that nothing was sent. This rings an alarm.
    Contradicts(State),
    /// The record says the same already.
    Repeated,
    /// The record is further already. Final states absorb: the first one wins.
    Stale,
}

impl State {
    pub const ALL: [State; 7] = [
        State::Accepted,
        State::Sending,
        State::Unconfirmed,
        State::Confirmed,
        State::NotSent,
        State::Delivered,
        State::Failed,
    ];

    /// The states from which a message may move here.
    ///
    /// A report DELIVERED or FAILED about a message that is ACCEPTED or NOT_SENT is evidence
    /// against the record, and is recorded all the same.
    pub fn sources(self) -> &'static [State] {
        use State::{Accepted, Confirmed, NotSent, Sending, Unconfirmed};
        match self {
            Accepted => &[Sending],
            Sending => &[Accepted],
            Unconfirmed => &[Sending],
            Confirmed => &[Sending, Unconfirmed],
            NotSent => &[Accepted, Sending, Unconfirmed],
            State::Delivered | State::Failed => {
                &[Sending, Unconfirmed, Confirmed, Accepted, NotSent]
            }
        }
    }

    /// No transition leads out of it.
    pub fn is_final(self) -> bool {
        matches!(self, State::Delivered | State::Failed)
    }

    /// Handed to the provider or about to be, so a report about it shows that its batch arrived.
    pub fn is_unsettled(self) -> bool {
        matches!(self, State::Sending | State::Unconfirmed)
    }

    /// What callers read as `status`.
    pub fn status(self) -> Status {
        match self {
            State::Accepted | State::Sending | State::Unconfirmed => Status::Accepted,
            State::Confirmed => Status::Confirmed,
            State::Delivered => Status::Delivered,
            State::NotSent | State::Failed => Status::Failed,
        }
    }

    /// What callers read as `submission`.
    pub fn submission(self) -> Submission {
        match self {
            State::Accepted => Submission::Queued,
            State::Sending => Submission::Sending,
            State::Unconfirmed => Submission::Unconfirmed,
            State::NotSent => Submission::NotSent,
            State::Confirmed | State::Delivered | State::Failed => Submission::Sent,
        }
    }

    /// What `report` does to a message found in this state.
    pub fn after_report(self, report: DeliveryReport) -> ReportEffect {
        let to = report.state();
        match self {
            _ if self == to => ReportEffect::Repeated,
            State::Delivered | State::Failed => ReportEffect::Stale,
            State::Accepted | State::NotSent if to.is_final() => ReportEffect::Contradicts(to),
            _ if to.sources().contains(&self) => ReportEffect::Moves(to),
            _ => ReportEffect::Stale,
        }
    }

    /// What `report` does to a message that is with another provider now, because the reporting one
    /// had not taken it.
    pub fn after_report_elsewhere(self, report: DeliveryReport) -> ReportEffect {
        match self.after_report(report) {
            ReportEffect::Moves(to) if to.is_final() => ReportEffect::Contradicts(to),
            ReportEffect::Moves(_) => ReportEffect::Stale,
            other => other,
        }
    }
}

impl DeliveryReport {
    /// The state it moves a message to.
    pub fn state(self) -> State {
        match self {
            DeliveryReport::Confirmed => State::Confirmed,
            DeliveryReport::Delivered => State::Delivered,
            DeliveryReport::Failed(_) => State::Failed,
        }
    }

    /// Why the delivery failed; none where it did not.
    pub fn reason(self) -> Option<Reason> {
        match self {
            DeliveryReport::Failed(reason) => Some(reason),
            DeliveryReport::Confirmed | DeliveryReport::Delivered => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// The order of the states; equal ranks exclude each other.
    fn rank(state: State) -> u8 {
        match state {
            State::Accepted => 0,
            State::Sending => 1,
            State::Unconfirmed => 2,
            State::Confirmed | State::NotSent => 3,
            State::Delivered | State::Failed => 4,
        }
    }

    #[test]
    fn the_only_way_back_is_from_sending_to_accepted() {
        for to in State::ALL {
            for &from in to.sources() {
                let back = rank(from) >= rank(to);
                assert!(
                    !back || (from, to) == (State::Sending, State::Accepted),
                    "{from:?} -> {to:?}"
                );
            }
        }
    }

    #[test]
    fn final_states_absorb() {
        for to in State::ALL {
            assert!(to.sources().iter().all(|from| !from.is_final()), "{to:?}");
        }
    }

    fn report() -> impl Strategy<Value = DeliveryReport> {
        select(vec![
            DeliveryReport::Confirmed,
            DeliveryReport::Delivered,
            DeliveryReport::Failed(Reason::Undelivered),
            DeliveryReport::Failed(Reason::InvalidRecipient),
        ])
    }

    proptest! {
        /// However reports are repeated and shuffled, a message that was sent ends in the first
        /// final state.
        #[test]
        fn reports_in_any_order_end_the_same(
            start in select(vec![State::Sending, State::Unconfirmed, State::Confirmed]),
            reports in proptest::collection::vec(report(), 0..12),
        ) {
            let mut state = start;
            for &report in &reports {
                if let ReportEffect::Moves(to) | ReportEffect::Contradicts(to) = state.after_report(report) {
                    prop_assert!(to.sources().contains(&state));
                    state = to;
                }
            }
            let first_final = reports.iter().map(|r| r.state()).find(|s| s.is_final());
            let confirmed = if reports.is_empty() { start } else { State::Confirmed };
            prop_assert_eq!(state, first_final.unwrap_or(confirmed));
        }

        #[test]
        fn a_final_report_on_a_message_that_was_not_sent_contradicts_the_record(
            start in select(vec![State::Accepted, State::NotSent]),
            report in report(),
        ) {
            let expected = match report {
                DeliveryReport::Confirmed => ReportEffect::Stale,
                _ => ReportEffect::Contradicts(report.state()),
            };
            prop_assert_eq!(start.after_report(report), expected);
        }
    }

    #[test]
    fn sent_is_what_may_be_billed() {
        for state in State::ALL {
            let billed = matches!(state, State::Confirmed | State::Delivered | State::Failed);
            assert_eq!(state.submission() == Submission::Sent, billed, "{state:?}");
        }
    }
}
