//! The conditional writes of the record: each is one step that nothing can come between.
//!
//! Where a message may come from is asked of [`State::sources`], of which the real conditions are made. The
//! conditions on batches are those of `shared::record::batches` and `settlement`.

use shared::batch::BatchState;
use shared::state::State;

use super::Protocol;
use super::sets::Set;
use super::settings::Mutant;
use super::world::{Batch, BatchNo, Message, MessageNo, Owner, World};

/// What the record answers to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Done,
    /// The condition did not hold.
    Lost,
    /// How the batch stands after a write that settles it or finds it.
    Stands(Option<Standing>),
}

/// How a batch stands, as far as one acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Standing {
    Started,
    Unknown {
        attempts: u8,
    },
    Confirmed {
        refused: Set,
    },
    Rejected,
    /// An operator said that it was not sent, and whether its members go out with another batch.
    Disproved {
        requeue: bool,
    },
    Buried,
}

/// What is known of a batch that is to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outcome {
    Confirmed {
        refused: Set,
    },
    Rejected {
        attempts: u8,
    },
    Unknown,
    /// It was in doubt after these attempts, and was not sent.
    Disproved {
        attempts: u8,
        requeue: bool,
    },
}

/// What is to become of the members of a rejected batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Keep,
    Try,
    Split,
}

impl From<bool> for Reply {
    fn from(held: bool) -> Self {
        if held { Reply::Done } else { Reply::Lost }
    }
}

impl Batch {
    /// Nothing if it is not in the record.
    pub(super) fn standing(&self) -> Option<Standing> {
        Some(match self.state? {
            BatchState::Started => Standing::Started,
            BatchState::Unknown => Standing::Unknown { attempts: self.attempts },
            BatchState::Confirmed => Standing::Confirmed { refused: self.refused },
            BatchState::Rejected => self.word.map_or(Standing::Rejected, |requeue| Standing::Disproved { requeue }),
            BatchState::Tomb => Standing::Buried,
        })
    }
}

impl Protocol {
    /// W1: the message is in the record; its bell is yet to be sent.
    pub(super) fn accept(&self, world: &mut World, message: MessageNo) {
        *world.message_mut(message) = Message { state: Some(State::Accepted), unrung: true, ..Default::default() };
    }

    /// W2: claims a valid message that waits, or finds its own claim.
    pub(super) fn claim(&self, world: &mut World, message: MessageNo, batch: BatchNo) -> Reply {
        let claimed = world.message_mut(message);
        if claimed.is(State::Sending) && claimed.batch == Some(batch) {
            return Reply::Done;
        }
        if !claimed.lapsed && comes_to(claimed, State::Sending) {
            claimed.state = Some(State::Sending);
            claimed.batch = Some(batch);
            return Reply::Done;
        }
        self.is(Mutant::NoClaim).into()
    }

    /// W3: the intent, unless the batch is in the record already, but for its own.
    pub(super) fn start(&self, world: &mut World, batch: BatchNo, members: Set) -> Reply {
        let started = world.batch_mut(batch);
        let own = started.is(BatchState::Started) && started.owner == Owner::Courier && started.attempts == 1;
        if started.state.is_some() && !own {
            return Reply::Stands(started.standing());
        }
        let state = Some(BatchState::Started);
        *started = Batch { state, members, attempts: 1, owner: Owner::Courier, ..Default::default() };
        Reply::Done
    }

    /// W4: one more attempt after attempt number `attempts`, or its own that is counted already. A batch in doubt
    /// takes one only under a key that lives.
    pub(super) fn again(&self, world: &mut World, batch: BatchNo, attempts: u8, keyed: bool, owner: Owner) -> Reply {
        let again = world.batch_mut(batch);
        let open = again.is(BatchState::Started) || (keyed && again.is(BatchState::Unknown));
        let own = again.owner == owner && again.attempts == attempts + 1;
        if (again.attempts == attempts && open) || own {
            again.attempts = attempts + 1;
            again.owner = owner;
            return Reply::Done;
        }
        Reply::Lost
    }

    /// W5: what became of a batch, unless more is known of it.
    pub(super) fn settle(&self, world: &mut World, batch: BatchNo, outcome: Outcome) -> Reply {
        let settled = world.batch_mut(batch);
        let Batch { attempts: made, ambiguous, .. } = *settled;
        let (holds, to) = match outcome {
            Outcome::Confirmed { .. } => {
                (settled.is_open() || settled.is(BatchState::Confirmed), BatchState::Confirmed)
            }
            // Nothing was sent in an attempt that is the last one begun, and there is no doubt about those before.
            Outcome::Rejected { attempts } => {
                let last = attempts == made || self.is(Mutant::NoAttemptFence);
                let careless = self.is(Mutant::RejectAfterDoubt) || self.is(Mutant::NoAttemptFence);
                (settled.is_open() && last && (!ambiguous || careless), BatchState::Rejected)
            }
            Outcome::Unknown => (settled.is_open(), BatchState::Unknown),
            // The same for a batch in doubt, by somebody who knows.
            Outcome::Disproved { attempts, .. } => {
                let last = attempts == made || self.is(Mutant::WordOutdated);
                (settled.is(BatchState::Unknown) && last, BatchState::Rejected)
            }
        };
        if holds {
            settled.state = Some(to);
            settled.ambiguous |= outcome == Outcome::Unknown;
            if let Outcome::Confirmed { refused } = outcome {
                settled.refused = settled.refused.and(refused);
            }
            if let Outcome::Disproved { requeue, .. } = outcome {
                settled.word = Some(requeue);
            }
        }
        Reply::Stands(settled.standing())
    }

    /// W6: tells a message how the batch that holds it stands; `fate` says what a rejected one means for it.
    pub(super) fn tell(&self, world: &mut World, message: MessageNo, batch: BatchNo, standing: Standing, fate: Fate) {
        let several = world.batch(batch).members.count() > 1;
        let more_errors = world.message(message).errors + 1 < self.settings.errors_max;
        let to = match (standing, fate) {
            (Standing::Confirmed { refused }, _) if refused.has(message) => {
                return self.refuse_one(world, message, batch);
            }
            (Standing::Confirmed { .. }, _) => State::Confirmed,
            (Standing::Disproved { requeue: true }, _) => {
                return self.requeue(world, message, batch);
            }
            (Standing::Disproved { requeue: false }, _) => State::NotSent,
            (Standing::Unknown { .. }, _) if self.is(Mutant::TimeoutIsNotSent) => State::NotSent,
            (Standing::Unknown { .. }, _) => State::Unconfirmed,
            (Standing::Buried, _) | (Standing::Rejected, Fate::Keep) => State::Accepted,
            (Standing::Rejected, Fate::Try) if more_errors => State::Accepted,
            (Standing::Rejected, Fate::Split) if several => State::Accepted,
            (Standing::Rejected, Fate::Try | Fate::Split) => State::NotSent,
            // Somebody else acts on it, and will tell.
            (Standing::Started, _) => return,
        };
        if to == State::Confirmed && self.is(Mutant::UnconditionalConfirm) {
            world.message_mut(message).state = Some(to);
        }
        let moved = self.shift(world, message, batch, to);
        if moved && to == State::Accepted && fate == Fate::Try {
            world.message_mut(message).errors += 1;
        }
        if moved && to == State::Accepted && fate == Fate::Split {
            world.message_mut(message).alone = !self.is(Mutant::HalvesGatheredAgain);
        }
    }

    /// W7: declares a batch dead that is not in the record.
    pub(super) fn bury(&self, world: &mut World, batch: BatchNo) -> Reply {
        let buried = world.batch_mut(batch);
        buried.state = buried.state.or(Some(BatchState::Tomb));
        buried.is(BatchState::Tomb).into()
    }

    /// W8: the message is the batch's no more, and waits.
    pub(super) fn release(&self, world: &mut World, message: MessageNo, batch: BatchNo) -> bool {
        self.shift(world, message, batch, State::Accepted)
    }

    /// W8 on an operator's word: the message waits, though it was told of a doubt.
    fn requeue(&self, world: &mut World, message: MessageNo, batch: BatchNo) {
        let requeued = world.message_mut(message);
        if requeued.batch == Some(batch) && (requeued.is(State::Unconfirmed) || comes_to(requeued, State::Accepted)) {
            (requeued.state, requeued.batch) = (Some(State::Accepted), None);
        }
    }

    /// W9: what the provider reports, on a message that is still as it was `seen`.
    pub(super) fn report(&self, world: &mut World, message: MessageNo, seen: State, to: State) -> Reply {
        let reported = world.message_mut(message);
        if !reported.is(seen) {
            return Reply::Lost;
        }
        reported.state = Some(to);
        if to.is_final() {
            world.witness.first_final[usize::from(message)].get_or_insert(to);
        }
        Reply::Done
    }

    /// W11: too late to be sent, as long as nobody has claimed it.
    pub(super) fn expire(&self, world: &mut World, message: MessageNo) {
        let claimed_too = self.is(Mutant::ExpireClaimed);
        let expired = world.message_mut(message);
        if expired.is(State::Accepted) || (claimed_too && comes_to(expired, State::NotSent)) {
            expired.state = Some(State::NotSent);
        }
    }

    /// W6 of a member that the provider refused. Its own answer outranks what a report about another member made
    /// us conclude, so this one move also comes from CONFIRMED.
    fn refuse_one(&self, world: &mut World, message: MessageNo, batch: BatchNo) {
        let refused = world.message_mut(message);
        let concluded = refused.is(State::Confirmed) && !self.is(Mutant::ReportBeatsRefusal);
        if refused.batch == Some(batch) && (concluded || comes_to(refused, State::NotSent)) {
            refused.state = Some(State::NotSent);
        }
    }

    /// A move that a message makes only while the batch holds it.
    pub(super) fn shift(&self, world: &mut World, message: MessageNo, batch: BatchNo, to: State) -> bool {
        let shifted = world.message_mut(message);
        let holds = shifted.batch == Some(batch) && comes_to(shifted, to);
        if holds {
            shifted.state = Some(to);
            shifted.batch = shifted.batch.filter(|_| to != State::Accepted);
        }
        holds
    }
}

/// The message may be moved there from where it is.
fn comes_to(message: &Message, to: State) -> bool {
    message.state.is_some_and(|from| to.sources().contains(&from))
}
