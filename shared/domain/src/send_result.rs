//! What one request to a provider came to.

use jiff::SignedDuration;

use crate::batch::{Answer, Outcome};
use crate::id::MessageId;

/// The result of a request, as the crate `provider` reads it from the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// The provider took the batch, except for the `refused` messages.
    Confirmed {
        request_id: String,
        refused: Vec<MessageId>,
        answer: Answer,
    },
    /// Nothing was taken, and the same batch may be taken later: after the pause, if it asks for
    /// one.
    NotSent {
        pause: Option<SignedDuration>,
        answer: Answer,
    },
    /// Nothing was taken, and the same batch never will be.
    Refused { answer: Answer },
    /// Nothing was taken: the address or the token is wrong, not the messages.
    Misconfigured { answer: Answer },
    /// The provider may have taken the batch.
    Unknown { answer: Answer },
}

/// The kinds of results that decisions tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerClass {
    /// The provider took the batch.
    Taken,
    /// The provider asked for a pause and took nothing.
    Busy,
    /// The provider could not be reached.
    NoConnection,
    /// The provider answered with an error of its own and took nothing.
    ErrorAnswer,
    /// The provider refused the batch as a whole.
    Refused,
    /// The provider did not accept our address or token.
    Misconfigured,
    /// No answer that could be read: the provider may have taken the batch.
    NoAnswer,
}

impl SendResult {
    /// The provider's answer, as the record keeps it.
    pub fn answer(&self) -> &Answer {
        match self {
            SendResult::Confirmed { answer, .. }
            | SendResult::NotSent { answer, .. }
            | SendResult::Refused { answer }
            | SendResult::Misconfigured { answer }
            | SendResult::Unknown { answer } => answer,
        }
    }

    /// What this result alone shows of the batch: that it was taken, or nothing.
    pub fn outcome(&self) -> Outcome {
        match self {
            SendResult::Confirmed {
                request_id,
                refused,
                ..
            } => Outcome::Confirmed {
                request_id: Some(request_id.clone()),
                refused: refused.clone(),
            },
            _ => Outcome::Unknown,
        }
    }

    pub fn class(&self) -> AnswerClass {
        match self {
            SendResult::Confirmed { .. } => AnswerClass::Taken,
            SendResult::NotSent { pause: Some(_), .. } => AnswerClass::Busy,
            SendResult::NotSent {
                pause: None,
                answer,
            } if answer.http_status.is_none() => AnswerClass::NoConnection,
            SendResult::NotSent { pause: None, .. } => AnswerClass::ErrorAnswer,
            SendResult::Refused { .. } => AnswerClass::Refused,
            SendResult::Misconfigured { .. } => AnswerClass::Misconfigured,
            SendResult::Unknown { .. } => AnswerClass::NoAnswer,
        }
    }
}
