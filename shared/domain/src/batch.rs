//! A batch: one request to a provider. Its item is the commit point, the recovery log and the
//! invoice line in one, so it is written before anything is sent (W3), and its members never
//! change.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{BatchId, MessageId};

/// How a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BatchState {
    /// The intent is recorded; a request may be on its way.
    Started,
    /// The provider took it. Final.
    Confirmed,
    /// Provably not sent. Final.
    Rejected,
    /// The provider may have taken it. Only its idempotency key, a report or an operator can settle
    /// it.
    Unknown,
    /// A tombstone was written in place of the intent (W7), so no dispatcher can ever send it.
    /// Final.
    Abandoned,
}

/// One item of table Batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub id: BatchId,
    pub provider: String,
    pub state: BatchState,
    /// In request order, so that the same bytes can be made again.
    pub members: Vec<MessageId>,
    /// Requests begun; each is counted before it is sent.
    pub attempts: u32,
    /// An attempt went unanswered, so no later answer can show that nothing was sent.
    #[serde(default)]
    pub ambiguous: bool,
    /// The invocation that may send it, which distinguishes another one from the owner's own
    /// repeated write.
    pub owner: String,
    /// When its owner has been stopped at the latest.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub deadline: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The provider's id of the request, as its invoice lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The members that the provider refused while it took the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// An operator's decision that it was not sent, and whether its members go out with another
    /// batch; none if no operator has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeue: Option<bool>,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
}

/// What is known of a batch that is to be settled (W5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it, except for the `refused` messages. A report names no request.
    Confirmed {
        request_id: Option<String>,
        refused: Vec<MessageId>,
    },
    /// Provably not sent in any of its `attempts`.
    Rejected { attempts: u32, because: Cause },
    /// The provider may have taken it.
    Unknown,
}

/// Why a batch was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// No request could be made, or the provider was out of order: no message is to blame.
    Unavailable,
    /// The provider answered with an error, which counts against the messages.
    ErrorAnswer,
    /// The provider refused the batch as a whole.
    Refused,
    /// An operator decided so; with `requeue` the messages go out with another batch.
    Decision { requeue: bool },
}

/// The provider's last answer, as the record keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub http_status: Option<u16>,
    pub error: Option<String>,
}

impl Outcome {
    /// W5 leaves a batch with this outcome in the index of open batches: a doubt is still to be
    /// settled, and the other outcomes are as in [`Batch::stays_open`].
    pub fn stays_open(&self) -> bool {
        match self {
            Outcome::Unknown => true,
            Outcome::Confirmed { refused, .. } => !refused.is_empty(),
            Outcome::Rejected { because, .. } => matches!(because, Cause::Decision { .. }),
        }
    }
}

impl Batch {
    /// Why it was not sent, as far as the record shows: only an operator's decision outlives the
    /// dispatcher.
    pub fn cause(&self) -> Cause {
        self.requeue
            .map_or(Cause::Unavailable, |requeue| Cause::Decision { requeue })
    }

    /// It stays in the index of open batches until its outcome was applied to all its members: a
    /// refusal or an operator's decision must reach even those that a report has moved in between.
    pub fn stays_open(&self) -> bool {
        match self.state {
            BatchState::Confirmed => !self.refused.is_empty(),
            BatchState::Rejected => self.requeue.is_some(),
            BatchState::Started | BatchState::Unknown | BatchState::Abandoned => false,
        }
    }
}
