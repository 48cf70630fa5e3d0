//! Offering a batch to the provider, as often as it provably takes nothing.

use jiff::SignedDuration;

use super::turns::Grant;
use super::{Courier, Turn, sleep};
use crate::batch::{Answer, Batch, Outcome};
use crate::clock;
use crate::message::Message;
use crate::provider::{Connection, Sent};
use crate::record::batches::Intent;

/// The wait before the second attempt; it doubles for each further one.
const BACKOFF_FIRST_MS: i64 = 200;
const BACKOFF_MAX_MS: i64 = 5_000;

/// How the attempts ended.
pub(super) struct Tried {
    pub(super) outcome: Outcome,
    pub(super) answer: Answer,
    pub(super) attempts: u32,
    pub(super) fate: Fate,
}

/// What is to become of the members of a batch that was provably not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They go out with another batch, however often they were tried.
    Keep,
    /// The provider answered with an error: they go out with another batch while they have tries left.
    Try,
    /// The provider refused them together: they go out in halves, or not at all when there is only one.
    Split,
}

/// Whether there is to be another attempt.
enum Next {
    Again,
    End(Outcome, Fate),
}

impl Courier {
    /// Makes the attempts of a batch whose intent is written. The first uses the slot granted.
    pub(super) async fn attempt(&self, grant: &Grant<'_>, batch: &Batch, members: &[Message], turn: &Turn) -> Tried {
        let (mut attempts, mut ambiguous) = (1, false);
        let (to, mut answer) = (grant.to, Answer::default());
        let (outcome, fate) = loop {
            let reached =
                if attempts == 1 { self.reach_granted(grant, turn).await } else { self.reach(to, turn).await };
            if reached.is_none() {
                break (Outcome::Rejected { attempts }, Fate::Keep);
            }
            let sent = to.send(batch.id, members).await;
            answer = sent.answer().clone();
            ambiguous |= matches!(sent, Sent::Unknown { .. });
            let works = self.learn(to, members.len(), &sent).await;
            let next = match self.judge(to, batch, &sent, attempts, works).await {
                Next::Again => self.register(to, batch, attempts, turn).await,
                end => end,
            };
            match next {
                Next::Again => attempts += 1,
                Next::End(outcome, fate) => break (outcome, fate),
            }
        };
        // What a later attempt proves, it proves of itself only: not of one that went unanswered.
        let outcome = match outcome {
            Outcome::Rejected { .. } if ambiguous => Outcome::Unknown,
            other => other,
        };
        Tried { outcome, answer, attempts, fate }
    }

    /// What an answer means for a batch at its attempt number `attempts`, by a provider that otherwise `works`.
    async fn judge(&self, to: &Connection, batch: &Batch, sent: &Sent, attempts: u32, works: bool) -> Next {
        let more = works && attempts < self.attempts_max;
        let rejected = Outcome::Rejected { attempts };
        match sent {
            Sent::Confirmed { request_id, refused, .. } => Next::End(
                Outcome::Confirmed { request_id: Some(request_id.clone()), refused: refused.clone() },
                Fate::Keep,
            ),
            // Only the provider's own key makes it safe to ask again, and only once the doubt is on record.
            Sent::Unknown { answer } if more && to.provider.remembers(batch.id, clock::now()) => {
                match self.batches.settle(&batch.provider, batch.id, &Outcome::Unknown, answer, clock::now()).await {
                    Ok(_) => Next::Again,
                    Err(_) => Next::End(Outcome::Unknown, Fate::Keep),
                }
            }
            Sent::Unknown { .. } => Next::End(Outcome::Unknown, Fate::Keep),
            Sent::NotSent { .. } if more => Next::Again,
            // An error answer counts against the messages; a provider that is out of order does not.
            Sent::NotSent { pause: None, answer: Answer { http_status: Some(_), .. } } if works => {
                Next::End(rejected, Fate::Try)
            }
            Sent::Refused { .. } => Next::End(rejected, Fate::Split),
            Sent::NotSent { .. } | Sent::Misconfigured { .. } => Next::End(rejected, Fate::Keep),
        }
    }

    /// Counts the next attempt before it is made, after a jittered back-off.
    async fn register(&self, to: &Connection, batch: &Batch, attempts: u32, turn: &Turn) -> Next {
        let backoff_ms = (BACKOFF_FIRST_MS << (attempts - 1).min(16)).min(BACKOFF_MAX_MS);
        sleep(clock::jittered(SignedDuration::from_millis(backoff_ms))).await;
        let given_up = Next::End(Outcome::Rejected { attempts }, Fate::Keep);
        if !self.has_time(turn) {
            return given_up;
        }
        let keyed = to.provider.remembers(batch.id, clock::now());
        match self.batches.again(batch, attempts, keyed, clock::now()).await {
            Ok(Intent::Written) => Next::Again,
            // Somebody else took the batch over, or the record is gone: what is known by now is all.
            Ok(Intent::Lost(_)) | Err(_) => given_up,
        }
    }
}
