//! The courier carries batches: claim, write down the intent, send, record the outcome, tell the messages.
//!
//! The order is the promise. Nothing reaches the provider that was not first claimed by a conditional
//! write and listed in a batch item, and nothing is taken back without proof that it was not sent. A
//! courier may be stopped between any two lines: what it leaves behind says how far it came.

mod attempts;
mod claim;
mod recover;
mod report;
mod resend;
mod settle;
mod turns;

use jiff::{SignedDuration, Timestamp};

use crate::batch::{Batch, BatchState, Plan};
use crate::clock;
use crate::crash;
use crate::id::{BatchId, MessageId};
use crate::provider::Connection;
use crate::record::RecordError;
use crate::record::batches::{Batches, Intent};
use crate::record::messages::Messages;
use crate::record::numbers::Numbers;
use crate::record::providers::Providers;
use attempts::Fate;
use claim::{Claim, Claimed, Waiting};
use report::report;
use turns::{ClaimTurn, Grant, Taken};

pub use settle::{confirm_members, disprove_members};

/// What it takes to record an outcome after the provider has answered, with retries.
const RECORD_MS: i64 = 8_000;

/// What a courier needs, each a concrete thing outside.
#[derive(Clone)]
pub struct Courier {
    pub messages: Messages,
    pub batches: Batches,
    pub providers: Providers,
    pub numbers: Numbers,
    pub connections: Vec<Connection>,
    /// How often one batch is offered while the provider provably takes nothing; below 1 means 1.
    pub attempts_max: u32,
    pub plan: Plan,
}

/// One invocation's turn: who acts, and until when.
#[derive(Clone, Debug)]
pub struct Turn {
    pub owner: String,
    pub deadline: Timestamp,
    /// How long an invocation may last: what an older one holds was left behind.
    pub length: SignedDuration,
}

impl Turn {
    /// The turn of an invocation that will be stopped at `deadline_ms` since 1970, as Lambda tells it.
    pub fn of(owner: &str, deadline_ms: u64) -> Self {
        let now = clock::now();
        let deadline = i64::try_from(deadline_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let deadline = deadline.map_or(now, |deadline| deadline + crash::skew("deadlines"));
        Self { owner: owner.to_owned(), deadline, length: deadline.duration_since(now) }
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// A batch was carried: there may be more.
    Carried,
    /// The provider refused a batch: its members wait again, to go out in smaller ones.
    Refused,
    /// The provider took nothing, for now.
    Unsent,
    /// Nothing waits that may go now.
    Idle,
    /// The provider's pace has no slot before this moment, which is not worth waiting for.
    NoSlot(Timestamp),
    /// Another request could not be finished and recorded in time.
    OutOfTime,
}

impl Courier {
    /// Carries the next batch of what waits from `from` on, and moves `from` to where it stopped reading.
    pub async fn round(&self, from: &mut MessageId, turn: &Turn) -> Result<Round, RecordError> {
        if !self.has_time(turn) {
            return Ok(Round::OutOfTime);
        }
        let mut waiting = self.waiting(*from).await?;
        let mut claiming = ClaimTurn::default();
        // Two who claim at the same time halve what would have filled one batch, so they claim one after the other.
        if self.is_contested(&waiting) {
            claiming = self.await_turn_to_claim().await;
        }
        if claiming.waited {
            waiting = self.waiting(*from).await?;
        }
        let ended = self.claim_and_carry(waiting, from, turn, &mut claiming).await;
        self.pass_on(&mut claiming).await;
        ended
    }

    /// Takes the slot of the provider whose turn it is, claims a batch for it, and carries that. The turn to claim is
    /// passed on as soon as the claim is made, or has to wait.
    async fn claim_and_carry(
        &self,
        mut waiting: Waiting,
        from: &mut MessageId,
        turn: &Turn,
        claiming: &mut ClaimTurn,
    ) -> Result<Round, RecordError> {
        let able = self.able(&waiting);
        if able.is_empty() {
            return Ok(Round::Idle);
        }
        let grant = match self.choose(&able).await? {
            Taken::Slot(grant) => grant,
            Taken::NotBefore(moment) => return Ok(Round::NoSlot(moment)),
        };
        // What is claimed long before its slot only waits in somebody's hands.
        let ahead = grant.slot.wait(clock::now()) - grant.to.provider.terms().pace.interval();
        if ahead.is_positive() {
            self.pass_on(claiming).await;
            sleep(ahead).await;
            waiting = self.waiting(*from).await?;
        }
        let ended = match self.claim_waiting(grant.to, waiting, from, turn).await? {
            Claim::Batch(claimed) => {
                self.pass_on(claiming).await;
                return self.carry(&grant, claimed, turn).await;
            }
            Claim::Passed => Round::Carried,
            Claim::Nothing => Round::Idle,
        };
        self.give_back(&grant).await;
        Ok(ended)
    }

    /// Carries a claimed batch.
    async fn carry(&self, grant: &Grant<'_>, claimed: Claimed, turn: &Turn) -> Result<Round, RecordError> {
        let batch = self.intent(grant.to, &claimed, turn);
        let Claimed { members, doubtful, .. } = claimed;
        match self.batches.start(&batch).await {
            Ok(Intent::Written) => {}
            // We were taken for dead, and the batch was buried: it is as if nothing had been claimed.
            Ok(Intent::Lost(Some(BatchState::Tomb))) => {
                self.release(&batch, &batch.members).await;
                return Ok(Round::Carried);
            }
            // Whoever found our intent first decides what becomes of it.
            Ok(Intent::Lost(_)) => return Ok(Round::Carried),
            Err(error) => {
                self.abandon(&batch, &doubtful).await;
                return Err(error);
            }
        }
        // Whether these were claimed is not known, but they are no members, so they are not sent with it.
        self.release(&batch, &doubtful).await;

        let begun = clock::now();
        let tried = self.attempt(grant, &batch, &members, turn).await;
        report(&batch, &members, &tried, begun);
        let settled = self.settle(&batch, &tried).await?;
        let Some(settled) = settled else { return Ok(Round::Unsent) };
        self.tell(&settled, &members, tried.fate).await;
        Ok(match settled.state {
            BatchState::Confirmed | BatchState::Unknown => Round::Carried,
            // Its members go out in smaller batches now.
            BatchState::Rejected if tried.fate == Fate::Split => Round::Refused,
            BatchState::Rejected | BatchState::Started | BatchState::Tomb => Round::Unsent,
        })
    }

    /// The batch that the claimed messages make, as it is to be written down before it is sent.
    fn intent(&self, to: &Connection, claimed: &Claimed, turn: &Turn) -> Batch {
        let members = claimed.members.iter().map(|message| message.id).collect();
        self.batch(&to.provider.name, claimed.batch_id, BatchState::Started, members, turn)
    }

    /// What is written over a batch of which nothing is written yet, so that it never is.
    fn tomb(&self, provider: &str, id: BatchId, turn: &Turn) -> Batch {
        self.batch(provider, id, BatchState::Tomb, Vec::new(), turn)
    }

    fn batch(&self, provider: &str, id: BatchId, state: BatchState, members: Vec<MessageId>, turn: &Turn) -> Batch {
        Batch {
            id,
            provider: provider.to_owned(),
            state,
            members,
            attempts: 1,
            ambiguous: false,
            owner: turn.owner.clone(),
            deadline: turn.deadline,
            http_status: None,
            request_id: None,
            refused: Vec::new(),
            last_error: None,
            requeue: None,
            updated_at: clock::now(),
        }
    }

    /// Another request can be made, answered and recorded before this invocation ends.
    pub fn has_time(&self, turn: &Turn) -> bool {
        let timeout_ms = self.connections.iter().map(|connection| connection.provider.timeout_ms).max();
        let timeout_ms = i64::try_from(timeout_ms.unwrap_or_default()).unwrap_or(i64::MAX / 2);
        let needed = SignedDuration::from_millis(timeout_ms.saturating_add(RECORD_MS));
        turn.deadline.duration_since(clock::now()) > needed
    }
}

/// Sleeps; not at all when the time has passed.
async fn sleep(time: SignedDuration) {
    if let Ok(time) = time.try_into() {
        tokio::time::sleep(time).await;
    }
}
