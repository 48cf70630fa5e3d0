//! An operator, who settles a batch in doubt by what the provider's own records say.

use domain::batch::{BatchState, Cause};

use super::Protocol;
use super::sets::Set;
use super::settings::Event;
use super::world::{BatchNo, World};
use super::writes::{Outcome, Reply, Snapshot};

/// An operator's decision that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decision {
    batch: BatchNo,
    outcome: Outcome,
    /// The members to which it is still to be applied (W6), once it stands in the batch (W5).
    todo: Option<Set>,
}

impl Protocol {
    /// Whether the batch is in doubt and, by its deadline, no process waits for an answer about it.
    pub(super) fn may_resolve(&self, world: &World, batch: BatchNo) -> bool {
        let under_way = !world.provider.requests[usize::from(batch)]
            .under_way
            .is_empty();
        let doubt =
            world.batch(batch).is(BatchState::Unknown) && !world.is_attended(batch) && !under_way;
        doubt && world.decision.is_none() && self.may(world, Event::Decision)
    }

    /// The operator reads the batch and the provider's records, and decides.
    pub(super) fn resolve(&self, world: &mut World, batch: BatchNo, requeue: bool) {
        world.happened.count(Event::Decision);
        let sent = world.provider.requests[usize::from(batch)].billed > 0;
        let attempts = world.batch(batch).attempts;
        let not_sent = Outcome::Rejected {
            attempts,
            because: Cause::Decision { requeue },
        };
        let outcome = if sent {
            Outcome::Confirmed {
                refused: Set::EMPTY,
            }
        } else {
            not_sent
        };
        world.decision = Some(Decision {
            batch,
            outcome,
            todo: None,
        });
    }

    /// The function that writes the decision is stopped, and the operator does not repeat the call.
    pub(super) fn operator_stops(&self, world: &mut World) {
        world.happened.count(Event::Crash);
        world.decision = None;
    }

    /// The next write of the decision.
    pub(super) fn operator_writes(&self, world: &mut World) {
        let Some(
            decision @ Decision {
                batch,
                outcome,
                todo,
            },
        ) = world.decision
        else {
            return;
        };
        let Some(todo) = todo else {
            let settled = match (self.settle(world, batch, outcome), outcome) {
                (Reply::Found(Some(Snapshot::Confirmed { .. })), Outcome::Confirmed { .. }) => true,
                (
                    Reply::Found(Some(Snapshot::Rejected {
                        decision: Some(found),
                    })),
                    Outcome::Rejected {
                        because: Cause::Decision { requeue },
                        ..
                    },
                ) => found == requeue,
                _ => false,
            };
            let todo = Some(world.batch(batch).members);
            world.decision = settled.then_some(Decision { todo, ..decision });
            return;
        };
        if let (Some(first), Some(snapshot)) = (todo.first(), world.batch(batch).snapshot()) {
            self.apply_outcome(world, (first, batch), snapshot, Cause::Unavailable);
        }
        world.decision = todo.rest().map(|todo| Decision {
            todo: Some(todo),
            ..decision
        });
    }
}
