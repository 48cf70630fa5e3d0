//! The one machine of states, and the two public views of it.
//!
//! A message's stored state only moves forward, but for one step back: SENDING returns to ACCEPTED after
//! proof that nothing was sent. What callers see, `status` and `submission`, are pure functions of it.
//! Every DynamoDB condition that moves a message is made from [`State::sources`], so that the code and
//! the condition can't disagree.

use serde::{Deserialize, Serialize};

/// What the record holds.
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
    /// Its recipient became known as inactive while it waited.
    RecipientInactive,
    /// Its caller took it back while it waited.
    Cancelled,
    /// The provider reported that it could not be delivered.
    Undelivered,
    /// The provider reported that there is no such number.
    InvalidRecipient,
}

/// What a provider reports about a message it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Confirmed,
    Delivered,
    Failed(Reason),
}

/// What a report does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message moves.
    Moves(State),
    /// The message moves, and the record was wrong: it says that nothing was sent. An alarm.
    Contradicts(State),
    /// It says what the record says already.
    Repeated,
    /// It is older than what the record says; final states absorb, the first one wins.
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

    /// The states from which a message may be moved here.
    ///
    /// The last two of DELIVERED and FAILED are evidence against the record, taken all the same.
    pub fn sources(self) -> &'static [State] {
        use State::{Accepted, Confirmed, NotSent, Sending, Unconfirmed};
        match self {
            Accepted => &[Sending],
            Sending => &[Accepted],
            Unconfirmed => &[Sending],
            Confirmed => &[Sending, Unconfirmed],
            NotSent => &[Accepted, Sending, Unconfirmed],
            State::Delivered | State::Failed => &[Sending, Unconfirmed, Confirmed, Accepted, NotSent],
        }
    }

    /// Nothing more happens to it.
    pub fn is_final(self) -> bool {
        matches!(self, State::Delivered | State::Failed)
    }

    /// Handed to the provider or about to be: a report about it proves that its batch arrived.
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
    pub fn take(self, report: Report) -> Verdict {
        let to = report.state();
        match self {
            _ if self == to => Verdict::Repeated,
            State::Delivered | State::Failed => Verdict::Stale,
            State::Accepted | State::NotSent if to.is_final() => Verdict::Contradicts(to),
            _ if to.sources().contains(&self) => Verdict::Moves(to),
            _ => Verdict::Stale,
        }
    }

    /// What `report` does to a message that another provider has now: whoever reports it was said not to have it.
    pub fn take_from_another(self, report: Report) -> Verdict {
        match self.take(report) {
            Verdict::Moves(to) if to.is_final() => Verdict::Contradicts(to),
            Verdict::Moves(_) => Verdict::Stale,
            other => other,
        }
    }
}

impl Report {
    /// The state it moves a message to.
    pub fn state(self) -> State {
        match self {
            Report::Confirmed => State::Confirmed,
            Report::Delivered => State::Delivered,
            Report::Failed(_) => State::Failed,
        }
    }

    /// Why, where it failed.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Report::Failed(reason) => Some(reason),
            Report::Confirmed | Report::Delivered => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// DESIGN §3's order; equal ranks exclude each other.
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
                assert!(!back || (from, to) == (State::Sending, State::Accepted), "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn final_states_absorb() {
        for to in State::ALL {
            assert!(to.sources().iter().all(|from| !from.is_final()), "{to:?}");
        }
    }

    fn report() -> impl Strategy<Value = Report> {
        select(vec![
            Report::Confirmed,
            Report::Delivered,
            Report::Failed(Reason::Undelivered),
            Report::Failed(Reason::InvalidRecipient),
        ])
    }

    proptest! {
        /// However updates are repeated and shuffled, a message that was taken ends in the first final one.
        #[test]
        fn reports_in_any_order_end_the_same(
            start in select(vec![State::Sending, State::Unconfirmed, State::Confirmed]),
            reports in proptest::collection::vec(report(), 0..12),
        ) {
            let mut state = start;
            for &report in &reports {
                if let Verdict::Moves(to) | Verdict::Contradicts(to) = state.take(report) {
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
                Report::Confirmed => Verdict::Stale,
                _ => Verdict::Contradicts(report.state()),
            };
            prop_assert_eq!(start.take(report), expected);
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
