//! The engine: from what waits to what a provider has taken.
//!
//! Players: the *dispatcher* sends batches; `dispatch` wakes it by bells, `sweep` by the clock. A
//! *claim* (W2) makes a message a batch's own. The *intent* (W3) lists the claimed messages in a
//! batch item before anything is sent. A *slot* is the moment at which the rate limit lets one
//! request go. An *outcome* is recorded on the batch (W5) and then applied to its members (W6, W8).
//!
//! The order is the promise: claim, write down the intent, send, record the outcome, apply it.
//! Nothing reaches a provider that was not first claimed by a conditional write and listed in a
//! batch item, and nothing is released without evidence that it was not sent. A dispatcher may be
//! stopped between any two lines: what it leaves behind shows how far it came, and [`recover`] goes
//! on from there.
//!
//! | to read about | open |
//! |---|---|
//! | what waits, claiming it, ending what is too late | [`claim`], [`expire`] |
//! | slots, the breaker, whose share it is | [`slots`] |
//! | requests until a batch ends | [`attempts`] |
//! | outcomes on batches and members | [`outcome`] |
//! | batches that were left behind | [`recover`], [`resend`] |
//! | the statistics line of a batch | [`batch_metrics`], [`metrics`] |

mod attempts;
mod batch_metrics;
mod claim;
mod expire;
mod invocation;
pub mod metrics;
mod outcome;
mod recover;
mod resend;
mod slots;

use domain::batch::{Batch, BatchState, Cause};
use domain::batch_policy::BatchPolicy;
use domain::dispatched::Dispatched;
use domain::id::{BatchId, MessageId};
use jiff::SignedDuration;
use provider::ProviderClient;
use record::batches::IntentResult;
use record::tables::Tables;
use record::{RecordError, clock};

use batch_metrics::log_batch;
use claim::{Claim, Claimed, Waiting};
use slots::{ClaimLock, GrantedSlot, SlotResult};

pub use invocation::Invocation;
pub use outcome::apply_to_all;

/// How long it takes to record an outcome after the provider has answered, retries included, in
/// milliseconds.
const RECORD_MS: i64 = 8_000;

/// The longest wait with the claim lock held: short enough that the lock still covers the claim.
const LOCKED_WAIT_MAX: SignedDuration = SignedDuration::from_secs(1);

/// What a dispatcher needs, each a concrete thing outside.
#[derive(Clone)]
pub struct Dispatcher {
    pub record: Tables,
    pub clients: Vec<ProviderClient>,
    /// How often one batch is tried while the provider provably takes nothing.
    pub attempts_max: u32,
    pub policy: BatchPolicy,
}

impl Dispatcher {
    /// Sends the next batch of what waits from `from` on. Returns what came of it, and where to
    /// read from next.
    pub async fn dispatch_next(
        &self,
        from: MessageId,
        invocation: &Invocation,
    ) -> Result<(Dispatched, MessageId), RecordError> {
        if !self.has_time(invocation) {
            return Ok((Dispatched::OutOfTime, from));
        }
        let mut waiting = self.waiting(from).await?;
        let mut lock = ClaimLock::default();
        // Two dispatchers that claim at the same time halve what would have filled one batch.
        if self.is_contested(&waiting) {
            lock = self.lock_claims().await;
        }
        if lock.waited {
            waiting = self.waiting(from).await?;
        }
        let ended = self.claim_and_send(waiting, invocation, &mut lock).await;
        self.unlock_claims(&mut lock).await;
        ended
    }

    /// Takes the next slot, claims a batch for its provider, and sends that. The claim lock is
    /// released as soon as the claim is made, or has to wait long for the slot.
    async fn claim_and_send(
        &self,
        mut waiting: Waiting,
        invocation: &Invocation,
        lock: &mut ClaimLock,
    ) -> Result<(Dispatched, MessageId), RecordError> {
        let from = waiting.from;
        let ready = self.ready_providers(&waiting);
        if ready.is_empty() {
            return Ok((Dispatched::Idle, from));
        }
        let granted = match self.next_slot(&ready).await? {
            SlotResult::Slot(granted) => granted,
            SlotResult::NotBefore(moment) => return Ok((Dispatched::NoSlot(moment), from)),
        };
        // Messages that are claimed long before their slot would only be kept from other providers,
        // so the claim waits until one interval before it. The lock is kept meanwhile: otherwise
        // another dispatcher may claim the last messages for a provider with an earlier slot, and
        // this one, which has its slot for nothing, falls behind its share.
        let limits = granted.to.provider.limits();
        let ahead = granted.slot.wait(clock::now()) - limits.rate.interval();
        if ahead.is_positive() {
            if ahead > LOCKED_WAIT_MAX {
                self.unlock_claims(lock).await;
            }
            sleep(ahead).await;
            waiting = self.waiting(from).await?;
        }
        let (claim, next) = self.claim_waiting(granted.to, waiting, invocation).await?;
        let ended = match claim {
            Claim::Batch(claimed) => {
                self.unlock_claims(lock).await;
                return Ok((self.send_batch(&granted, claimed, invocation).await?, next));
            }
            Claim::Passed => Dispatched::More,
            Claim::Nothing => Dispatched::Idle,
        };
        self.give_back(&granted).await;
        Ok((ended, next))
    }

    /// Sends a claimed batch, and records what came of it.
    async fn send_batch(
        &self,
        granted: &GrantedSlot<'_>,
        claimed: Claimed,
        invocation: &Invocation,
    ) -> Result<Dispatched, RecordError> {
        let batch = self.intent(granted.to, &claimed, invocation);
        let Claimed {
            members, doubtful, ..
        } = claimed;
        match self.record.batches.start(&batch).await {
            Ok(IntentResult::Written) => {}
            // Recovery took this dispatcher for dead: it is as if nothing had been claimed.
            Ok(IntentResult::Lost(Some(BatchState::Abandoned))) => {
                self.release(&batch, &batch.members).await;
                return Ok(Dispatched::More);
            }
            // Recovery found the intent first, and decides what becomes of it.
            Ok(IntentResult::Lost(_)) => return Ok(Dispatched::More),
            Err(error) => {
                self.abandon_unsent(&batch, &doubtful).await;
                return Err(error);
            }
        }
        // Whether these were claimed is unknown, but they are not members, so they are not sent
        // with the batch.
        self.release(&batch, &doubtful).await;

        let begun = clock::now();
        let ended = self.attempt(granted, &batch, &members, invocation).await;
        log_batch(&batch, &members, &ended, begun);
        let Some(settled) = self.settle(&batch, &ended).await? else {
            return Ok(Dispatched::Unsent);
        };
        let because = ended.because();
        self.apply_outcome(&settled, &members, because).await;
        Ok(match settled.state {
            BatchState::Confirmed | BatchState::Unknown => Dispatched::More,
            // Its members go out in smaller batches now.
            BatchState::Rejected if because == Cause::Refused => Dispatched::Refused,
            BatchState::Rejected | BatchState::Started | BatchState::Abandoned => {
                Dispatched::Unsent
            }
        })
    }

    /// The batch that the claimed messages make, as it is to be written down before it is sent.
    fn intent(&self, to: &ProviderClient, claimed: &Claimed, invocation: &Invocation) -> Batch {
        let members = claimed.members.iter().map(|message| message.id).collect();
        new_batch(&to.provider.name, claimed.batch_id, members, invocation)
    }

    /// Another request can be made, answered and recorded before this invocation ends.
    pub fn has_time(&self, invocation: &Invocation) -> bool {
        let timeout_ms = self
            .clients
            .iter()
            .map(|client| client.provider.timeout_ms)
            .max();
        let timeout_ms = i64::try_from(timeout_ms.unwrap_or_default()).unwrap_or(i64::MAX / 2);
        let needed = SignedDuration::from_millis(timeout_ms.saturating_add(RECORD_MS));
        invocation.deadline.duration_since(clock::now()) > needed
    }
}

/// A batch whose first request is about to be made.
fn new_batch(
    provider: &str,
    id: BatchId,
    members: Vec<MessageId>,
    invocation: &Invocation,
) -> Batch {
    Batch {
        id,
        provider: provider.to_owned(),
        state: BatchState::Started,
        members,
        attempts: 1,
        ambiguous: false,
        owner: invocation.owner.clone(),
        deadline: invocation.deadline,
        http_status: None,
        request_id: None,
        refused: Vec::new(),
        last_error: None,
        requeue: None,
        updated_at: clock::now(),
    }
}

/// What is written in place of a batch that is not in the record, so that its intent never is.
fn tombstone(provider: &str, id: BatchId, invocation: &Invocation) -> Batch {
    Batch {
        state: BatchState::Abandoned,
        ..new_batch(provider, id, Vec::new(), invocation)
    }
}

/// Sleeps; not at all when the time has passed.
async fn sleep(time: SignedDuration) {
    if let Ok(time) = time.try_into() {
        tokio::time::sleep(time).await;
    }
}
