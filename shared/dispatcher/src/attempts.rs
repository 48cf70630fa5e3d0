//! Makes the requests of one batch, until it is taken, refused, in doubt, or out of attempts:
//! counts each before it is made (W4), and records a doubt before it is repeated (W5). The
//! dispatcher calls it once the intent is recorded.

use domain::attempt::{Attempts, Ending, NextStep};
use domain::batch::{Answer, Batch, Cause, Outcome};
use domain::message::Message;
use domain::send_result::{AnswerClass, SendResult};
use jiff::SignedDuration;
use provider::ProviderClient;
use record::batches::IntentResult;
use record::{clock, crash};

use crate::slots::GrantedSlot;
use crate::{Dispatcher, Invocation, sleep};

/// The wait before the second attempt, in milliseconds; it doubles for each further one.
const BACKOFF_FIRST_MS: i64 = 200;
/// The longest wait between two attempts, in milliseconds.
const BACKOFF_MAX_MS: i64 = 5_000;

/// How the attempts ended.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) answer: Answer,
    /// Requests begun.
    pub(crate) attempts: u32,
}

impl Ended {
    /// Why nothing was sent, if nothing was.
    pub(crate) fn because(&self) -> Cause {
        match self.outcome {
            Outcome::Rejected { because, .. } => because,
            Outcome::Confirmed { .. } | Outcome::Unknown => Cause::Unavailable,
        }
    }
}

impl Dispatcher {
    /// Makes the attempts of a batch whose intent is written. The first one uses the granted slot.
    pub(crate) async fn attempt(
        &self,
        granted: &GrantedSlot<'_>,
        batch: &Batch,
        members: &[Message],
        invocation: &Invocation,
    ) -> Ended {
        let to = granted.to;
        let mut attempts = Attempts {
            made: 1,
            max: self.attempts_max,
            provider_works: true,
            key_lives: false,
            ambiguous: false,
        };
        let mut last = None;
        let ending = loop {
            let reached = match attempts.made {
                1 => self.wait_for_granted(granted, invocation).await,
                _ => self.wait_for_slot(to, invocation).await,
            };
            if !reached {
                break attempts.not_sent(Cause::Unavailable);
            }
            let sent =
                &*last.insert(crash::around("send a batch", to.send(batch.id, members)).await);
            let class = sent.class();
            attempts.provider_works = self.record_result(to, members.len(), sent).await;
            attempts.key_lives = to.provider.remembers(batch.id, clock::now());
            attempts.ambiguous |= class == AnswerClass::NoAnswer;
            let next = attempts.after(class);
            let counted = match next {
                NextStep::End(ending) => break ending,
                NextStep::RecordDoubtAndTryAgain if !self.record_doubt(batch, sent).await => {
                    break Ending::Unknown;
                }
                NextStep::RecordDoubtAndTryAgain | NextStep::TryAgain => {
                    self.count_attempt(to, batch, attempts.made, invocation)
                        .await
                }
            };
            if !counted {
                break attempts.not_sent(Cause::Unavailable);
            }
            attempts.made += 1;
        };
        ended(ending, last, attempts.made)
    }

    /// W5 UNKNOWN; whether it was recorded.
    async fn record_doubt(&self, batch: &Batch, sent: &SendResult) -> bool {
        let (provider, id) = (&batch.provider, batch.id);
        let unknown = &Outcome::Unknown;
        self.record
            .batches
            .settle((provider, id), unknown, sent.answer(), clock::now())
            .await
            .is_ok()
    }

    /// W4: counts the next attempt before it is made, after a jittered back-off. False if there
    /// must not be one.
    async fn count_attempt(
        &self,
        to: &ProviderClient,
        batch: &Batch,
        made: u32,
        invocation: &Invocation,
    ) -> bool {
        let backoff_ms = (BACKOFF_FIRST_MS << (made - 1).min(16)).min(BACKOFF_MAX_MS);
        sleep(clock::jittered(SignedDuration::from_millis(backoff_ms))).await;
        if !self.has_time(invocation) {
            return false;
        }
        let keyed = to.provider.remembers(batch.id, clock::now());
        // If another dispatcher has taken the batch over, or the record cannot be reached, this one
        // knows no more.
        let counted = self
            .record
            .batches
            .count_attempt(batch, made, keyed, clock::now())
            .await;
        matches!(counted, Ok(IntentResult::Written))
    }
}

fn ended(ending: Ending, last: Option<SendResult>, attempts: u32) -> Ended {
    let answer = last
        .as_ref()
        .map(|sent| sent.answer().clone())
        .unwrap_or_default();
    let outcome = match ending {
        Ending::Confirmed => last.map_or(Outcome::Unknown, |sent| sent.outcome()),
        Ending::Rejected(because) => Outcome::Rejected { attempts, because },
        Ending::Unknown => Outcome::Unknown,
    };
    Ended {
        outcome,
        answer,
        attempts,
    }
}
