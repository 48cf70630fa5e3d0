//! Decides which provider carries the next batch and when it may be asked, and records what its
//! answer means for the requests after it. All of this is W12, a write of the provider's state.

use domain::provider_state::{ProviderState, SlotPurpose};
use domain::rate_limit::Slot;
use domain::send_result::{AnswerClass, SendResult};
use domain::share::{Share, levelled, order};
use jiff::{SignedDuration, Timestamp};
use provider::ProviderClient;
use record::providers::Written;
use record::{RecordError, clock};
use tracing::{error, warn};

use crate::{Dispatcher, Invocation, sleep};

/// The item that locks claims, in table Providers. No provider can have this name.
const CLAIM_LOCK: &str = "#claim_lock";
/// How long to wait before looking again whether the claim lock is free.
const LOOK: SignedDuration = SignedDuration::from_millis(60);
/// Looks before the lock is ignored: together longer than the lock of a stopped dispatcher lasts.
const LOOKS_MAX: usize = 80;
/// How many races against other dispatchers a dispatcher may lose before it gives up on a slot.
const RACES_MAX: usize = 16;
/// How long it then waits before it looks for a slot again.
const RACED: SignedDuration = SignedDuration::from_secs(1);

/// A provider, and the slot in which it may be asked.
pub(crate) struct GrantedSlot<'a> {
    pub(crate) to: &'a ProviderClient,
    pub(crate) slot: Slot,
    /// The request in it probes whether the provider is back.
    pub(crate) probe: bool,
}

/// The claim lock, if this dispatcher holds it.
#[derive(Default)]
pub(crate) struct ClaimLock {
    held: Option<ProviderState>,
    /// Another dispatcher held it first, so what was read before is out of date.
    pub(crate) waited: bool,
}

/// What there was to take.
pub(crate) enum SlotResult<T> {
    Slot(T),
    /// No slot within reach: the next one is not before this moment.
    NotBefore(Timestamp),
}

impl Dispatcher {
    /// Waits until no other dispatcher claims, for any provider.
    ///
    /// Only the fullness of batches and the equality of shares depend on it, so a failure is passed
    /// over.
    pub(crate) async fn lock_claims(&self) -> ClaimLock {
        let mut lock = ClaimLock::default();
        for _ in 0..LOOKS_MAX {
            let seen = self
                .record
                .providers
                .states(&[CLAIM_LOCK])
                .await
                .map(|mut seen| seen.pop());
            let Ok(Some(seen)) = seen else { break };
            if let Some(taken) = seen.lock_claims(clock::now()) {
                match self
                    .record
                    .providers
                    .write(&seen, taken.clone(), clock::token())
                    .await
                {
                    Ok(Written::Done) => {
                        lock.held = Some(ProviderState {
                            version: seen.version + 1,
                            ..taken
                        });
                        break;
                    }
                    Ok(Written::Raced) => {}
                    Err(_) => break,
                }
            }
            lock.waited = true;
            sleep(clock::jittered(LOOK)).await;
        }
        lock
    }

    /// Lets the next dispatcher claim; without this, it would wait until the lock runs out.
    pub(crate) async fn unlock_claims(&self, lock: &mut ClaimLock) {
        if let Some(held) = lock.held.take() {
            // If the lock was lost in the meantime, there is nothing to release.
            let _ = self
                .record
                .providers
                .write(&held, held.unlock_claims(clock::now()), clock::token())
                .await;
        }
    }

    /// The provider furthest below its share, of those that are ready, and its next slot.
    pub(crate) async fn next_slot<'a>(
        &'a self,
        ready: &[&'a ProviderClient],
    ) -> Result<SlotResult<GrantedSlot<'a>>, RecordError> {
        for _ in 0..RACES_MAX {
            let states = self.states().await?;
            let (mut soonest, mut raced) = (None::<Timestamp>, false);
            let shares = levelled(&self.shares(&states));
            for n in order(&shares) {
                let to = &self.clients[n];
                if !ready
                    .iter()
                    .any(|ready| ready.provider.name == to.provider.name)
                {
                    continue;
                }
                let seen = ProviderState {
                    assigned: shares[n].assigned,
                    ..states[n].clone()
                };
                match seen.take_slot(SlotPurpose::Batch, to.provider.limits(), clock::now()) {
                    Err(moment) => soonest = Some(soonest.map_or(moment, |one| one.min(moment))),
                    Ok((taken, slot)) => {
                        let written =
                            self.record
                                .providers
                                .write(&states[n], taken, clock::token());
                        if written.await? == Written::Done {
                            let probe = !seen.breaker.is_closed();
                            return Ok(SlotResult::Slot(GrantedSlot { to, slot, probe }));
                        }
                        raced = true;
                        break;
                    }
                }
            }
            if !raced {
                return Ok(SlotResult::NotBefore(
                    soonest.unwrap_or(clock::now() + RACED),
                ));
            }
        }
        Ok(SlotResult::NotBefore(clock::now() + RACED))
    }

    /// The next slot of this provider.
    async fn slot_of(
        &self,
        to: &ProviderClient,
        purpose: SlotPurpose,
    ) -> Result<SlotResult<Slot>, RecordError> {
        for _ in 0..RACES_MAX {
            let Some(seen) = self
                .record
                .providers
                .states(&[&to.provider.name])
                .await?
                .pop()
            else {
                break;
            };
            match seen.take_slot(purpose, to.provider.limits(), clock::now()) {
                Err(moment) => return Ok(SlotResult::NotBefore(moment)),
                Ok((taken, slot)) => {
                    if self
                        .record
                        .providers
                        .write(&seen, taken, clock::token())
                        .await?
                        == Written::Done
                    {
                        return Ok(SlotResult::Slot(slot));
                    }
                }
            }
        }
        Ok(SlotResult::NotBefore(clock::now() + RACED))
    }

    /// Waits for the slot that was granted or, if that was missed, for another. False if there is
    /// none in time.
    pub(crate) async fn wait_for_granted(
        &self,
        granted: &GrantedSlot<'_>,
        invocation: &Invocation,
    ) -> bool {
        let purpose = if granted.probe {
            SlotPurpose::Probe
        } else {
            SlotPurpose::Retry
        };
        let reached = self
            .wait(granted.to, Some(granted.slot), purpose, invocation)
            .await;
        if !reached && granted.probe {
            self.change(granted.to, |state| state.release_probe(clock::now()))
                .await;
        }
        reached
    }

    /// Takes a slot for another attempt, and waits for it. False if there is none in time.
    pub(crate) async fn wait_for_slot(&self, to: &ProviderClient, invocation: &Invocation) -> bool {
        self.wait(to, None, SlotPurpose::Retry, invocation).await
    }

    async fn wait(
        &self,
        to: &ProviderClient,
        mut held: Option<Slot>,
        purpose: SlotPurpose,
        invocation: &Invocation,
    ) -> bool {
        loop {
            let slot = match held.take() {
                Some(slot) => slot,
                None => match self.slot_of(to, purpose).await {
                    Ok(SlotResult::Slot(slot)) => slot,
                    Ok(SlotResult::NotBefore(_)) | Err(_) => return false,
                },
            };
            sleep(slot.wait(clock::now())).await;
            if !self.has_time(invocation) {
                return false;
            }
            if slot.is_valid(clock::now()) {
                return true;
            }
        }
    }

    /// The slot was taken, and then there was no batch for it.
    pub(crate) async fn give_back(&self, granted: &GrantedSlot<'_>) {
        let unused = |state: &ProviderState| match granted.probe {
            true => state.give_back().release_probe(clock::now()),
            false => state.give_back(),
        };
        self.change(granted.to, unused).await;
    }

    /// Records what an answer to so many messages says about the provider, as distinct from the
    /// batch. Returns whether the provider may be asked again soon.
    pub(crate) async fn record_result(
        &self,
        to: &ProviderClient,
        messages: usize,
        sent: &SendResult,
    ) -> bool {
        let (limits, now) = (to.provider.limits(), clock::now());
        match sent.class() {
            AnswerClass::Taken => {
                self.change(to, ProviderState::succeed).await;
                true
            }
            // One message of several may be to blame.
            AnswerClass::Refused if messages > 1 => true,
            AnswerClass::Busy => {
                let pause = if let SendResult::NotSent { pause, .. } = sent {
                    *pause
                } else {
                    None
                };
                let until = now + pause.unwrap_or_default();
                self.change(to, |state| state.pause(until, now)).await;
                true
            }
            // A provider that refuses one message after the other, and takes none, has a problem of
            // its own.
            AnswerClass::Refused
            | AnswerClass::NoConnection
            | AnswerClass::ErrorAnswer
            | AnswerClass::NoAnswer => {
                let after = self.change(to, |state| state.fail(limits, now)).await;
                after.is_none_or(|after| !after.is_open(now))
            }
            AnswerClass::Misconfigured => {
                error!(
                    provider = to.provider.name,
                    http_status = sent.answer().http_status,
                    "the provider's configuration is wrong: it refuses our address or token; \
                     its breaker opens and messages wait"
                );
                self.change(to, |state| state.open(limits, now)).await;
                false
            }
        }
    }

    /// W12: changes a provider's state, if there is anything to change, and returns it. A failure
    /// costs rate or share, never a message.
    async fn change(
        &self,
        to: &ProviderClient,
        change: impl Fn(&ProviderState) -> ProviderState,
    ) -> Option<ProviderState> {
        let provider = &to.provider.name;
        let changed = self
            .record
            .providers
            .change(provider, clock::token, change)
            .await;
        changed
            .inspect_err(|error| {
                warn!(
                    %error,
                    provider,
                    "a provider's state could not be written; its rate or share may suffer"
                );
            })
            .ok()
    }

    async fn states(&self) -> Result<Vec<ProviderState>, RecordError> {
        let names: Vec<_> = self
            .clients
            .iter()
            .map(|one| one.provider.name.as_str())
            .collect();
        self.record.providers.states(&names).await
    }

    fn shares(&self, states: &[ProviderState]) -> Vec<Share> {
        let share = |(state, one): (&ProviderState, &ProviderClient)| Share {
            assigned: state.assigned,
            weight: one.provider.weight,
        };
        states.iter().zip(&self.clients).map(share).collect()
    }
}
