//! Whose turn it is: the provider that carries the next batch, the slot in which it may be asked, and what its answer
//! means for the batches after it.

use jiff::{SignedDuration, Timestamp};
use tracing::{error, warn};

use super::{Courier, Turn, sleep};
use crate::clock;
use crate::pace::Slot;
use crate::provider::{Connection, Sent};
use crate::record::RecordError;
use crate::record::providers::Written;
use crate::standing::{Errand, Share, Standing, levelled, order};

/// The item of those who claim. No provider can have this name.
const CLAIMING: &str = "#claiming";
/// Whoever waits for a turn looks again after about so long, and in all for no longer than the turn of a dead one lasts.
const LOOK: SignedDuration = SignedDuration::from_millis(60);
const LOOKS_MAX: usize = 80;
/// Races lost to other dispatchers before a slot counts as not to be had.
const RACES_MAX: usize = 16;
/// After so many lost races there may be a slot again.
const RACED: SignedDuration = SignedDuration::from_secs(1);

/// A provider, and the slot in which it may be asked.
pub(super) struct Grant<'a> {
    pub(super) to: &'a Connection,
    pub(super) slot: Slot,
    /// It is the one that finds out whether the provider is back.
    pub(super) probe: bool,
}

/// The turn to claim, if it was taken.
#[derive(Default)]
pub(super) struct ClaimTurn {
    held: Option<Standing>,
    /// There was somebody to wait for: what was read before is not what there is.
    pub(super) waited: bool,
}

/// What there was to take.
pub(super) enum Taken<T> {
    Slot(T),
    /// No slot within reach: the next one is not before this moment.
    NotBefore(Timestamp),
}

impl Courier {
    /// Keeps those who claim apart, at all providers: waits until nobody else does, or seems to be dead.
    ///
    /// Nothing depends on it but the fullness of batches and the equality of shares, so what fails is passed over.
    pub(super) async fn await_turn_to_claim(&self) -> ClaimTurn {
        let mut turn = ClaimTurn::default();
        for _ in 0..LOOKS_MAX {
            let Ok(Some(seen)) = self.providers.standings(&[CLAIMING]).await.map(|mut seen| seen.pop()) else { break };
            if let Some(taken) = seen.take_turn(clock::now()) {
                match self.providers.write(&seen, taken.clone(), clock::token()).await {
                    Ok(Written::Done) => {
                        turn.held = Some(Standing { version: seen.version + 1, ..taken });
                        break;
                    }
                    Ok(Written::Raced) => {}
                    Err(_) => break,
                }
            }
            turn.waited = true;
            sleep(clock::jittered(LOOK)).await;
        }
        turn
    }

    /// The next one may claim; without this, it would wait until the turn is over.
    pub(super) async fn pass_on(&self, turn: &mut ClaimTurn) {
        if let Some(held) = turn.held.take() {
            // Who lost the turn has nothing to pass on.
            let _ = self.providers.write(&held, held.pass_on(clock::now()), clock::token()).await;
        }
    }

    /// The provider furthest below its share, of those that are able to carry what waits, and its next slot.
    pub(super) async fn choose<'a>(&'a self, able: &[&'a Connection]) -> Result<Taken<Grant<'a>>, RecordError> {
        for _ in 0..RACES_MAX {
            let standings = self.standings().await?;
            let now = clock::now();
            let (mut soonest, mut raced) = (None, false);
            let shares = levelled(&self.shares(&standings));
            for n in order(&shares) {
                let to = &self.connections[n];
                let seen = Standing { assigned: shares[n].assigned, ..standings[n].clone() };
                if !able.iter().any(|able| able.provider.name == to.provider.name) {
                    continue;
                }
                match seen.take(Errand::Batch, to.provider.terms(), now) {
                    Err(moment) => soonest = soonest.map_or(moment, |soonest: Timestamp| soonest.min(moment)).into(),
                    Ok((taken, slot)) => match self.providers.write(&standings[n], taken, clock::token()).await? {
                        Written::Done => {
                            return Ok(Taken::Slot(Grant { to, slot, probe: seen.open_until.is_some() }));
                        }
                        Written::Raced => {
                            raced = true;
                            break;
                        }
                    },
                }
            }
            if !raced {
                return Ok(Taken::NotBefore(soonest.unwrap_or(now + RACED)));
            }
        }
        Ok(Taken::NotBefore(clock::now() + RACED))
    }

    /// This provider's next slot.
    async fn slot(&self, to: &Connection, errand: Errand) -> Result<Taken<Slot>, RecordError> {
        for _ in 0..RACES_MAX {
            let Some(seen) = self.providers.standings(&[&to.provider.name]).await?.pop() else { break };
            match seen.take(errand, to.provider.terms(), clock::now()) {
                Err(moment) => return Ok(Taken::NotBefore(moment)),
                Ok((taken, slot)) => {
                    if self.providers.write(&seen, taken, clock::token()).await? == Written::Done {
                        return Ok(Taken::Slot(slot));
                    }
                }
            }
        }
        Ok(Taken::NotBefore(clock::now() + RACED))
    }

    /// Waits until the provider may be asked, by the slot that was granted or, where that was missed, by another.
    pub(super) async fn reach_granted(&self, grant: &Grant<'_>, turn: &Turn) -> Option<()> {
        let errand = if grant.probe { Errand::Probe } else { Errand::Again };
        let reached = self.reach_by(grant.to, Some(grant.slot), errand, turn).await;
        if reached.is_none() && grant.probe {
            self.change(grant.to, |standing| standing.hand_on(clock::now())).await;
        }
        reached
    }

    /// Waits for a slot in which the provider may be asked, and for its moment.
    pub(super) async fn reach(&self, to: &Connection, turn: &Turn) -> Option<()> {
        self.reach_by(to, None, Errand::Again, turn).await
    }

    async fn reach_by(&self, to: &Connection, slot: Option<Slot>, errand: Errand, turn: &Turn) -> Option<()> {
        let mut held = slot;
        loop {
            let slot = match held.take() {
                Some(slot) => slot,
                None => match self.slot(to, errand).await {
                    Ok(Taken::Slot(slot)) => slot,
                    Ok(Taken::NotBefore(_)) | Err(_) => return None,
                },
            };
            sleep(slot.wait(clock::now())).await;
            if !self.has_time(turn) {
                return None;
            }
            if slot.is_valid(clock::now()) {
                return Some(());
            }
        }
    }

    /// The slot was taken for a batch that there is not.
    pub(super) async fn give_back(&self, grant: &Grant<'_>) {
        let unused = |standing: &Standing| match grant.probe {
            true => standing.give_back().hand_on(clock::now()),
            false => standing.give_back(),
        };
        self.change(grant.to, unused).await;
    }

    /// What an answer to so many messages says about the provider, not about the batch. Returns whether it may be asked
    /// again soon.
    pub(super) async fn learn(&self, to: &Connection, messages: usize, sent: &Sent) -> bool {
        let (terms, now) = (to.provider.terms(), clock::now());
        match sent {
            Sent::Confirmed { .. } => {
                self.change(to, Standing::succeed).await;
                true
            }
            // Of several, one may be to blame.
            Sent::Refused { .. } if messages > 1 => true,
            Sent::NotSent { pause: Some(pause), .. } => {
                self.change(to, |standing| standing.pause(now + *pause, now)).await;
                true
            }
            // A provider that refuses one message after the other, and takes none, has a problem of its own.
            Sent::Refused { .. } | Sent::NotSent { pause: None, .. } | Sent::Unknown { .. } => {
                self.change(to, |standing| standing.fail(terms, now)).await.is_none_or(|after| !after.is_open(now))
            }
            Sent::Misconfigured { answer } => {
                error!(
                    provider = to.provider.name,
                    http_status = answer.http_status,
                    "the provider's configuration is wrong"
                );
                self.change(to, |standing| standing.open(terms, now)).await;
                false
            }
        }
    }

    /// Changes the provider's standing, if there is anything to change, and returns it; what can't be written now costs pace or share, never a message.
    async fn change(&self, to: &Connection, change: impl Fn(&Standing) -> Standing) -> Option<Standing> {
        let changed = self.providers.change(&to.provider.name, clock::token, change).await;
        changed
            .inspect_err(|error| warn!(%error, provider = to.provider.name, "a provider's standing was not written"))
            .ok()
    }

    async fn standings(&self) -> Result<Vec<Standing>, RecordError> {
        let names: Vec<_> = self.connections.iter().map(|one| one.provider.name.as_str()).collect();
        self.providers.standings(&names).await
    }

    fn shares(&self, standings: &[Standing]) -> Vec<Share> {
        let each = standings.iter().zip(&self.connections);
        each.map(|(standing, one)| Share { assigned: standing.assigned, weight: one.provider.weight }).collect()
    }
}
