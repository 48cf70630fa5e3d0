//! Small sets of messages.

use std::fmt;

use super::world::{MESSAGES, MessageNo};

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Set(u8);

impl Set {
    pub(super) const EMPTY: Set = Set(0);

    pub(super) fn all() -> Set {
        Set((1 << MESSAGES) - 1)
    }

    pub(super) const fn of(message: MessageNo) -> Set {
        Set(1 << message)
    }

    pub(super) fn has(self, message: MessageNo) -> bool {
        self.0 & (1 << message) != 0
    }

    pub(super) fn with(self, message: MessageNo) -> Set {
        Set(self.0 | (1 << message))
    }

    pub(super) fn without(self, others: Set) -> Set {
        Set(self.0 & !others.0)
    }

    pub(super) fn union(self, others: Set) -> Set {
        Set(self.0 | others.0)
    }

    pub(super) fn intersects(self, others: Set) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) fn first(self) -> Option<MessageNo> {
        self.iter().next()
    }

    /// All but the first message; none if that leaves none.
    pub(super) fn rest(self) -> Option<Set> {
        Some(Set(self.0 & self.0.wrapping_sub(1))).filter(|rest| !rest.is_empty())
    }

    pub(super) fn iter(self) -> impl Iterator<Item = MessageNo> {
        (0..MESSAGES as MessageNo).filter(move |message| self.has(*message))
    }

    pub(super) fn filter(self, keep: impl Fn(MessageNo) -> bool) -> Set {
        self.iter()
            .filter(|message| keep(*message))
            .fold(Set::EMPTY, Set::with)
    }

    /// Its subsets, without the empty one.
    pub(super) fn subsets(self) -> impl Iterator<Item = Set> {
        (1..=self.0)
            .map(Set)
            .filter(move |part| part.without(self).is_empty())
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
