//! Records a batch's outcome (W5), and applies it to its members (W6, W8). The dispatcher, the
//! sweep and the status function call it; W7 makes sure first that an unsent batch is never sent.
//!
//! All of this can be repeated by anyone at any time: a message only moves while its batch holds
//! it, and only forward. A transition that fails here is made up for by recovery, since the message
//! still names the batch.

use domain::batch::{Answer, Batch, BatchState, Cause, Outcome};
use domain::id::MessageId;
use domain::member::{ERROR_BATCHES_MAX, Member, MemberOutcome, SettledBatch};
use domain::message::Message;
use record::batches::{Batches, IntentResult};
use record::messages::Messages;
use record::transitions::Transition;
use record::{RecordError, clock};
use tracing::warn;

use crate::Dispatcher;
use crate::attempts::Ended;

impl Dispatcher {
    /// W5: records how the attempts ended; returns the batch as it stands then.
    pub(crate) async fn settle(
        &self,
        batch: &Batch,
        ended: &Ended,
    ) -> Result<Option<Batch>, RecordError> {
        let settle = |outcome| async move {
            let (provider, id) = (&batch.provider, batch.id);
            self.record
                .batches
                .settle((provider, id), &outcome, &ended.answer, clock::now())
                .await
        };
        let settled = settle(ended.outcome.clone()).await?;
        // Our own W4 counted one more attempt by a write whose answer was lost; it was not made.
        match (&ended.outcome, settled) {
            (&Outcome::Rejected { attempts, because }, Some(found))
                if found.state == BatchState::Started
                    && found.owner == batch.owner
                    && found.attempts == attempts + 1 =>
            {
                settle(Outcome::Rejected {
                    attempts: found.attempts,
                    because,
                })
                .await
            }
            (_, settled) => Ok(settled),
        }
    }

    /// W6 of a batch that this dispatcher has settled, and so knows why it was not sent.
    pub(crate) async fn apply_outcome(&self, batch: &Batch, members: &[Message], because: Cause) {
        match (batch.state, batch.cause()) {
            (BatchState::Rejected, Cause::Unavailable) => {
                let members = members.iter().map(|message| (message.id, message.errors));
                apply_to(&self.record.messages, batch, because, members).await;
            }
            _ => {
                apply_to_all(&self.record.messages, &self.record.batches, batch).await;
            }
        }
    }

    /// W6 or W8 of some members of a batch, by what the record says of it.
    pub(crate) async fn apply_to_some(&self, batch: &Batch, ids: &[MessageId]) {
        let members = without_errors(ids);
        apply_to(&self.record.messages, batch, batch.cause(), members).await;
    }

    /// W8: the messages are no longer this batch's. Only for those that it provably never sends.
    pub(crate) async fn release(&self, batch: &Batch, ids: &[MessageId]) {
        let now = clock::now();
        let release =
            |id: &MessageId| Transition::member(*id, batch.id, MemberOutcome::Released, now);
        write(
            &self.record.messages,
            batch,
            ids.iter().map(release).collect(),
        )
        .await;
    }

    /// No request was made for this batch: makes sure that none will be (W7), and releases what was
    /// claimed.
    pub(crate) async fn abandon_unsent(&self, batch: &Batch, doubtful: &[MessageId]) {
        let tombstone = Batch {
            state: BatchState::Abandoned,
            ..batch.clone()
        };
        let abandoned = match self.record.batches.abandon(&tombstone).await {
            Ok(IntentResult::Written) => true,
            // The intent was written after all, by a write whose answer was lost; nothing followed
            // it.
            Ok(IntentResult::Lost(_)) => self.reject_unsent(batch).await,
            Err(_) => false,
        };
        if abandoned {
            self.release(batch, &batch.members).await;
            self.release(batch, doubtful).await;
        } else {
            warn!(
                batch_id = %batch.id,
                "an unsent batch could not be abandoned; recovery will release its messages"
            );
        }
    }

    async fn reject_unsent(&self, batch: &Batch) -> bool {
        let outcome = Outcome::Rejected {
            attempts: batch.attempts,
            because: Cause::Unavailable,
        };
        let (provider, id, answer) = (&batch.provider, batch.id, Answer::default());
        let settled = self
            .record
            .batches
            .settle((provider, id), &outcome, &answer, clock::now())
            .await;
        matches!(settled, Ok(Some(batch)) if batch.state == BatchState::Rejected)
    }
}

/// W6 of all members of a settled batch, by what the record says of it; returns whether every one
/// could be written.
///
/// A batch that stays open until its outcome was applied is closed then. If that fails, the next
/// sweep applies the outcome again, which changes nothing.
pub async fn apply_to_all(messages: &Messages, batches: &Batches, batch: &Batch) -> bool {
    let members = without_errors(&batch.members);
    let applied = apply_to(messages, batch, batch.cause(), members).await;
    if applied && batch.stays_open() {
        let closed = batches.close(&batch.provider, batch.id, clock::now()).await;
        if let Err(error) = closed {
            warn!(
                %error,
                batch_id = %batch.id,
                "a finished batch could not be closed; the next sweep does it"
            );
        }
    }
    applied
}

/// Members of a batch that was read from the record, which does not say that an error answer ended
/// it: none is added to the errors that count against them.
fn without_errors(ids: &[MessageId]) -> impl Iterator<Item = (MessageId, u32)> {
    ids.iter().map(|id| (*id, 0))
}

/// Applies the outcome to members, each given with the errors that count against it.
async fn apply_to(
    messages: &Messages,
    batch: &Batch,
    because: Cause,
    members: impl Iterator<Item = (MessageId, u32)>,
) -> bool {
    let settled = SettledBatch {
        state: batch.state,
        because,
        size: batch.members.len(),
        error_batches_max: ERROR_BATCHES_MAX,
    };
    let now = clock::now();
    let transitions = members.filter_map(|(id, errors)| {
        let outcome = settled.outcome_of(Member {
            refused: batch.refused.contains(&id),
            errors,
        })?;
        Some(Transition::member(id, batch.id, outcome, now))
    });
    write(messages, batch, transitions.collect()).await
}

/// Makes the transitions; returns whether every one could be written.
async fn write(
    messages: &Messages,
    batch: &Batch,
    transitions: Result<Vec<Transition>, RecordError>,
) -> bool {
    let results = match transitions {
        Ok(transitions) => messages.apply(&transitions).await,
        Err(error) => vec![Err(error)],
    };
    let failed = results.iter().filter(|result| result.is_err()).count();
    if failed > 0 {
        warn!(
            batch_id = %batch.id,
            failed,
            "the outcome of a batch did not reach all its messages; recovery applies it again"
        );
    }
    failed == 0
}
