//! An operator, who settles a batch in doubt by what the provider's own books say.

use shared::batch::BatchState;

use super::Protocol;
use super::sets::Set;
use super::settings::Event;
use super::world::{BatchNo, World};
use super::writes::{Fate, Outcome, Reply, Standing};

/// A word that is being recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    batch: BatchNo,
    outcome: Outcome,
    /// Whom to tell next (W6), once the word is in the record (W5).
    todo: Option<Set>,
}

impl Protocol {
    /// The batch is in doubt, and by its deadline nobody can be waiting for an answer about it.
    pub(super) fn may_resolve(&self, world: &World, batch: BatchNo) -> bool {
        let under_way = !world.provider.requests[usize::from(batch)].under_way.is_empty();
        let doubt = world.batch(batch).is(BatchState::Unknown) && !world.is_attended(batch) && !under_way;
        doubt && world.word.is_none() && self.may(world, Event::Word)
    }

    /// The operator reads the batch, and the provider's books.
    pub(super) fn resolve(&self, world: &mut World, batch: BatchNo, requeue: bool) {
        world.happened.count(Event::Word);
        let sent = world.provider.requests[usize::from(batch)].billed > 0;
        let attempts = world.batch(batch).attempts;
        let disproved = Outcome::Disproved { attempts, requeue };
        let outcome = if sent { Outcome::Confirmed { refused: Set::EMPTY } } else { disproved };
        world.word = Some(Word { batch, outcome, todo: None });
    }

    /// The call fails, and the operator does not make it again.
    pub(super) fn operator_stops(&self, world: &mut World) {
        world.happened.count(Event::Crash);
        world.word = None;
    }

    /// The next write of a resolution.
    pub(super) fn operator_writes(&self, world: &mut World) {
        let Some(word @ Word { batch, outcome, todo }) = world.word else { return };
        let Some(todo) = todo else {
            let settled = match (self.settle(world, batch, outcome), outcome) {
                (Reply::Stands(Some(Standing::Confirmed { .. })), Outcome::Confirmed { .. }) => true,
                (Reply::Stands(Some(Standing::Disproved { requeue: found })), Outcome::Disproved { requeue, .. }) => {
                    found == requeue
                }
                _ => false,
            };
            let todo = Some(world.batch(batch).members);
            world.word = settled.then_some(Word { todo, ..word });
            return;
        };
        if let (Some(first), Some(standing)) = (todo.first(), world.batch(batch).standing()) {
            self.tell(world, first, batch, standing, Fate::Keep);
        }
        world.word = todo.rest().map(|todo| Word { todo: Some(todo), ..word });
    }
}
