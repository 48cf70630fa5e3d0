//! The courier, as dispatch runs it: claim, write down the intent, send, record the outcome, tell the messages.

use shared::batch::BatchState;
use shared::state::State;

use super::Protocol;
use super::provider::Answer;
use super::sets::Set;
use super::settings::{Event, Mutant};
use super::world::{BatchNo, Owner, World};
use super::writes::{Fate, Outcome, Reply, Standing};

/// What a courier is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Errand {
    pub(super) batch: BatchNo,
    /// The bells that woke it.
    pub(super) bells: Set,
    pub(super) members: Set,
    /// Perhaps claimed: the record did not say.
    doubtful: Set,
    /// An attempt went unanswered.
    ambiguous: bool,
    pub(super) step: Step,
}

/// Its next step. All but `Offer` are one write each, for the first of `todo` where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// W2.
    Claim { todo: Set },
    /// W3.
    Intend,
    /// W8 of those that may have been claimed, and are no members.
    Free { todo: Set },
    /// The request, and its answer.
    Offer { attempt: u8 },
    /// W5 UNKNOWN, before an unanswered request is repeated.
    Doubt { attempt: u8 },
    /// W4 after this attempt.
    Register { attempt: u8 },
    /// W5.
    Record { outcome: Outcome, fate: Fate },
    /// W6.
    Tell { standing: Standing, fate: Fate, todo: Set },
    /// W7: nothing was sent, and nothing shall be.
    Bury,
    /// W5 REJECTED of an intent that was written after all, and not followed.
    Reject,
    /// W8.
    GiveBack { todo: Set },
}

impl Protocol {
    /// Bells wake a courier. It reads what waits, and has nothing to do if none of their messages does.
    pub(super) fn wake(&self, world: &mut World, courier: u8, bells: Set, duplicate: bool) {
        if duplicate {
            world.happened.count(Event::Duplicate);
        } else {
            bells.iter().for_each(|message| world.bells[usize::from(message)] -= 1);
        }
        if bells.meets(world.waiting()) {
            self.begin(world, courier, bells, world.load());
        } else {
            give_back(world, bells);
        }
    }

    /// A new batch, to claim `todo` for.
    fn begin(&self, world: &mut World, courier: u8, bells: Set, todo: Set) {
        let Some(batch) = world.unused() else {
            world.witness.exhausted = true;
            return;
        };
        let (none, step) = (Set::EMPTY, Step::Claim { todo });
        world.couriers[usize::from(courier)] =
            Some(Errand { batch, bells, members: none, doubtful: none, ambiguous: false, step });
    }

    /// The write of a courier's step, as the record sees it.
    pub(super) fn courier_writes(&self, world: &mut World, errand: &Errand) -> Reply {
        let &Errand { batch, members, step, .. } = errand;
        let late = self.is(Mutant::IntentAfterRequest);
        match (step, errand.todo().first()) {
            (Step::Claim { .. }, Some(first)) => self.claim(world, first, batch),
            (Step::Intend, _) if late => Reply::Done,
            (Step::Intend, _) => self.start(world, batch, members),
            (Step::Free { .. } | Step::GiveBack { .. }, Some(first)) => {
                self.release(world, first, batch);
                Reply::Done
            }
            (Step::Doubt { .. }, _) => self.settle(world, batch, Outcome::Unknown),
            (Step::Register { attempt }, _) => {
                let keyed = self.is_remembered(world, batch) || self.is(Mutant::CourierOutlivesKey);
                self.again(world, batch, attempt, keyed, Owner::Courier)
            }
            (Step::Record { outcome, .. }, _) => {
                if late {
                    self.start(world, batch, members);
                }
                self.settle(world, batch, outcome)
            }
            (Step::Tell { standing, fate, .. }, Some(first)) => {
                self.tell(world, first, batch, standing, fate);
                Reply::Done
            }
            (Step::Bury, _) => self.bury(world, batch),
            (Step::Reject, _) => self.settle(world, batch, Outcome::Rejected { attempts: 1 }),
            // A request is no write.
            (Step::Offer { .. }, _) | (_, None) => Reply::Lost,
        }
    }

    /// What a courier does next, by the record's answer; none came where the write was given up.
    pub(super) fn courier_hears(&self, world: &mut World, courier: u8, reply: Option<Reply>) {
        let Some(mut errand) = world.couriers[usize::from(courier)] else { return };
        let rest = errand.todo().rest();
        let next = match (errand.step, reply) {
            (Step::Claim { .. }, _) => errand.claimed(reply),
            (Step::Intend | Step::Bury | Step::Reject, _) => self.intended(&mut errand, reply),
            (Step::Free { .. }, _) => Some(rest.map_or(Step::Offer { attempt: 1 }, |todo| Step::Free { todo })),
            (Step::Doubt { attempt }, Some(_)) => Some(Step::Register { attempt }),
            (Step::Doubt { .. }, None) => Some(Step::Record { outcome: Outcome::Unknown, fate: Fate::Keep }),
            (Step::Register { attempt }, Some(Reply::Done)) => Some(Step::Offer { attempt: attempt + 1 }),
            // Somebody took the batch over, the key is too old, or the record is gone: what is known is all.
            (Step::Register { attempt }, _) => Some(self.unsent(&errand, attempt, Fate::Keep)),
            (Step::Record { outcome, fate }, Some(Reply::Stands(Some(standing)))) => {
                recounted(world, &errand, outcome, fate).or_else(|| self.telling(&errand, standing, fate))
            }
            // The record is gone, and what it says stays behind.
            (Step::Record { .. }, _) => return self.courier_stops(world, courier),
            (Step::Tell { standing, fate, .. }, _) => rest.map(|todo| Step::Tell { standing, fate, todo }),
            (Step::GiveBack { .. }, _) => rest.map(|todo| Step::GiveBack { todo }),
            (Step::Offer { .. }, _) => return,
        };
        match next {
            Some(step) => world.couriers[usize::from(courier)] = Some(Errand { step, ..errand }),
            None => self.finish(world, courier, errand),
        }
    }

    /// From the intent to the first attempt, or the way back: W7, or else W5 REJECTED, is the proof that nobody
    /// sends it.
    fn intended(&self, errand: &mut Errand, reply: Option<Reply>) -> Option<Step> {
        let (members, held) = (errand.members, errand.members.and(errand.doubtful));
        let careless = self.is(Mutant::AbandonWithoutProof);
        match (errand.step, reply) {
            (Step::Intend, Some(Reply::Done)) if errand.doubtful.is_empty() => Some(Step::Offer { attempt: 1 }),
            (Step::Intend, Some(Reply::Done)) => Some(Step::Free { todo: errand.doubtful }),
            // Taken for dead, and buried. If anything else was found, whoever wrote it decides.
            (Step::Intend, Some(Reply::Stands(found))) => {
                let buried = found == Some(Standing::Buried) || self.is(Mutant::LostIntentReleases);
                buried.then_some(Step::GiveBack { todo: members })
            }
            (Step::Intend, _) => Some(Step::Bury),
            (Step::Bury, Some(Reply::Done)) => Some(Step::GiveBack { todo: held }),
            (Step::Bury, _) if careless => Some(Step::GiveBack { todo: held }),
            (Step::Bury, Some(_)) => Some(Step::Reject),
            (Step::Reject, Some(Reply::Stands(Some(Standing::Rejected)))) => Some(Step::GiveBack { todo: held }),
            _ => None,
        }
    }

    /// §6: what the provider's answer to an attempt means.
    pub(super) fn courier_hears_provider(&self, world: &mut World, courier: u8, answer: Answer) {
        let Some(mut errand) = world.couriers[usize::from(courier)] else { return };
        let Step::Offer { attempt } = errand.step else { return };
        let more = attempt < self.settings.attempts_max;
        let remembered = self.is_remembered(world, errand.batch) || self.is(Mutant::CourierOutlivesKey);
        errand.ambiguous |= answer == Answer::None;
        errand.step = match answer {
            Answer::Taken { refused } => Step::Record { outcome: Outcome::Confirmed { refused }, fate: Fate::Keep },
            Answer::None if more && self.is(Mutant::RepeatAfterTimeout) => Step::Register { attempt },
            // Only the provider's key makes it safe to ask again, and only once the doubt is on record.
            Answer::None if more && self.is_keyed() && remembered => Step::Doubt { attempt },
            Answer::None => Step::Record { outcome: Outcome::Unknown, fate: Fate::Keep },
            Answer::Error | Answer::Busy if more => Step::Register { attempt },
            // An error answer counts against the messages; a provider that is too busy does not.
            Answer::Error => self.unsent(&errand, attempt, Fate::Try),
            Answer::Busy => self.unsent(&errand, attempt, Fate::Keep),
            Answer::Refused if self.is(Mutant::SplitBeforeReject) && errand.members.count() > 1 => {
                Step::Tell { standing: Standing::Rejected, fate: Fate::Split, todo: errand.members }
            }
            Answer::Refused => self.unsent(&errand, attempt, Fate::Split),
        };
        world.couriers[usize::from(courier)] = Some(errand);
    }

    /// The courier is stopped. Its bells ring again; all else is as it stands in the record.
    pub(super) fn courier_stops(&self, world: &mut World, courier: u8) {
        if let Some(errand) = world.couriers[usize::from(courier)].take() {
            errand.bells.iter().for_each(|message| world.ring(message));
        }
    }

    /// What a later attempt proves, it proves of itself only, not of one that went unanswered.
    fn unsent(&self, errand: &Errand, attempts: u8, fate: Fate) -> Step {
        let doubt = errand.ambiguous && !self.is(Mutant::RejectAfterDoubt);
        let outcome = if doubt { Outcome::Unknown } else { Outcome::Rejected { attempts } };
        Step::Record { outcome, fate }
    }

    /// The members are told, unless somebody else acts on the batch and will.
    fn telling(&self, errand: &Errand, standing: Standing, fate: Fate) -> Option<Step> {
        (standing != Standing::Started).then_some(Step::Tell { standing, fate, todo: errand.members })
    }

    /// The batch is done with: back to sleep.
    fn finish(&self, world: &mut World, courier: u8, errand: Errand) {
        world.couriers[usize::from(courier)] = None;
        give_back(world, errand.bells);
    }
}

impl Errand {
    fn todo(&self) -> Set {
        match self.step {
            Step::Claim { todo } | Step::Free { todo } | Step::Tell { todo, .. } | Step::GiveBack { todo } => todo,
            _ => Set::EMPTY,
        }
    }

    /// The first of those to claim was claimed, was not, or may have been.
    fn claimed(&mut self, reply: Option<Reply>) -> Option<Step> {
        let first = self.todo().first().map_or(Set::EMPTY, Set::of);
        match reply {
            Some(Reply::Done) => self.members = self.members.and(first),
            Some(_) => {}
            None => self.doubtful = self.doubtful.and(first),
        }
        match self.todo().rest() {
            Some(todo) => Some(Step::Claim { todo }),
            None if !self.members.is_empty() => Some(Step::Intend),
            None if !self.doubtful.is_empty() => Some(Step::Bury),
            None => None,
        }
    }
}

/// One attempt more than the courier made was counted by itself, by a W4 whose answer was lost: W5 once more.
fn recounted(world: &World, errand: &Errand, outcome: Outcome, fate: Fate) -> Option<Step> {
    let Outcome::Rejected { attempts } = outcome else { return None };
    let found = world.batch(errand.batch);
    let own = found.is(BatchState::Started) && found.owner == Owner::Courier && found.attempts == attempts + 1;
    own.then_some(Step::Record { outcome: Outcome::Rejected { attempts: attempts + 1 }, fate })
}

/// The bells of what waits, or is in somebody's hands, ring again.
fn give_back(world: &mut World, bells: Set) {
    let open = |message| world.message(message).waits() || world.message(message).is(State::Sending);
    bells.filter(open).iter().for_each(|message| world.ring(message));
}
