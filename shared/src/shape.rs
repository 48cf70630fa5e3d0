//! Which messages one request of a protocol can carry together.

use crate::message::Message;

/// What the messages of one request have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing: each has its own recipient, originator and text.
    Any,
    /// One originator and one text, for recipients that are all different.
    SameText,
    /// There is only one.
    Single,
}

impl Shape {
    /// The request that carries `batch` can carry `more` as well.
    pub fn fits<'a>(self, mut batch: impl Iterator<Item = &'a Message>, more: &Message) -> bool {
        match self {
            Shape::Any => true,
            Shape::SameText => batch.all(|one| {
                one.originator == more.originator && one.body == more.body && one.recipient != more.recipient
            }),
            Shape::Single => batch.next().is_none(),
        }
    }
}
