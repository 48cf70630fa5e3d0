//! What a provider's answer means for a batch: another attempt, or the end of it.
//!
//! The dispatcher asks after every request whose intent is recorded. Only an answer that rules out
//! that the provider acted on the request allows another attempt; without an answer, only the
//! provider's own idempotency key does.

use crate::batch::Cause;
use crate::send_result::AnswerClass;

/// Where a batch stands once an answer has come, or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// Requests begun, the one just answered included.
    pub made: u32,
    /// Requests that may be made in all.
    pub max: u32,
    /// The breaker is closed even after this answer, so another request makes sense.
    pub provider_works: bool,
    /// The provider is certain to recognise a repeat by its idempotency key.
    pub key_lives: bool,
    /// One of the requests went unanswered.
    pub ambiguous: bool,
}

/// What the dispatcher does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Counts another attempt (W4) and makes it.
    TryAgain,
    /// Records UNKNOWN first (W5), so that the doubt outlives a crash, and then tries again under
    /// the key.
    RecordDoubtAndTryAgain,
    /// Records the outcome (W5).
    End(Ending),
}

/// How the attempts of a batch end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Confirmed,
    Unknown,
    Rejected(Cause),
}

impl Attempts {
    /// What an answer of this class means.
    pub fn after(&self, answer: AnswerClass) -> NextStep {
        let more = self.provider_works && self.made < self.max;
        match answer {
            AnswerClass::Taken => NextStep::End(Ending::Confirmed),
            AnswerClass::NoAnswer if more && self.key_lives => NextStep::RecordDoubtAndTryAgain,
            AnswerClass::NoAnswer => NextStep::End(Ending::Unknown),
            AnswerClass::Busy | AnswerClass::NoConnection | AnswerClass::ErrorAnswer if more => {
                NextStep::TryAgain
            }
            // An error answer counts against the messages; a provider that is out of order does
            // not.
            AnswerClass::ErrorAnswer if self.provider_works => {
                NextStep::End(self.not_sent(Cause::ErrorAnswer))
            }
            AnswerClass::Refused => NextStep::End(self.not_sent(Cause::Refused)),
            AnswerClass::Busy
            | AnswerClass::NoConnection
            | AnswerClass::ErrorAnswer
            | AnswerClass::Misconfigured => NextStep::End(self.not_sent(Cause::Unavailable)),
        }
    }

    /// The end of a batch whose last attempt was not sent. That is no evidence about an earlier
    /// attempt that went unanswered.
    pub fn not_sent(&self, because: Cause) -> Ending {
        if self.ambiguous {
            Ending::Unknown
        } else {
            Ending::Rejected(because)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn class() -> impl Strategy<Value = AnswerClass> {
        select(vec![
            AnswerClass::Taken,
            AnswerClass::Busy,
            AnswerClass::NoConnection,
            AnswerClass::ErrorAnswer,
            AnswerClass::Refused,
            AnswerClass::Misconfigured,
            AnswerClass::NoAnswer,
        ])
    }

    prop_compose! {
        fn attempts()(made in 1_u32..6, max in 1_u32..6, flags: [bool; 3]) -> Attempts {
            let [provider_works, key_lives, ambiguous] = flags;
            Attempts { made, max, provider_works, key_lives, ambiguous }
        }
    }

    proptest! {
        #[test]
        fn a_time_out_is_tried_again_only_under_a_living_key(attempts in attempts()) {
            let next = attempts.after(AnswerClass::NoAnswer);
            prop_assert_ne!(next, NextStep::TryAgain);
            prop_assert!(attempts.key_lives || next == NextStep::End(Ending::Unknown));
        }

        #[test]
        fn a_batch_with_an_unanswered_attempt_is_never_rejected(attempts in attempts(), class in class()) {
            let next = attempts.after(class);
            let rejected = matches!(next, NextStep::End(Ending::Rejected(_)));
            prop_assert!(!(attempts.ambiguous && rejected));
        }

        #[test]
        fn no_attempt_is_made_beyond_the_last(attempts in attempts(), class in class()) {
            let ends = matches!(attempts.after(class), NextStep::End(_));
            prop_assert!(ends || (attempts.made < attempts.max && attempts.provider_works));
        }

        #[test]
        fn only_an_error_answer_of_a_working_provider_counts_against_the_messages(
            attempts in attempts(),
            class in class(),
        ) {
            let counts = attempts.after(class) == NextStep::End(Ending::Rejected(Cause::ErrorAnswer));
            prop_assert!(!counts || (class == AnswerClass::ErrorAnswer && attempts.provider_works));
        }
    }
}
