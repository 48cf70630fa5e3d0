//! Idempotency keys: the same request again is answered again, and not billed again.
//!
//! Only work that was begun is remembered. A request that was refused before any work leaves its
//! key free, so that a corrected one may use it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use crate::simulator::Answer;

pub(super) struct Keys {
    lifetime: Duration,
    kept: HashMap<String, Kept>,
}

struct Kept {
    body: Bytes,
    since: Instant,
    /// `None` while the work lasts.
    answer: Option<Answer>,
}

/// What a key says about a request.
#[derive(Debug)]
pub(super) enum Begun {
    /// Not seen within its lifetime: work, then call [`Keys::answered`].
    Fresh,
    Again(Answer),
    Working,
    /// The key was used for other bytes.
    Other,
}

impl Keys {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, kept: HashMap::new() }
    }

    pub(super) fn begin(&mut self, key: &str, body: &Bytes, now: Instant) -> Begun {
        if self.lifetime.is_zero() {
            return Begun::Fresh;
        }
        self.kept.retain(|_, kept| kept.answer.is_none() || now - kept.since < self.lifetime);
        match self.kept.get(key) {
            Some(kept) if kept.body != body => Begun::Other,
            Some(Kept { answer: Some(answer), .. }) => Begun::Again(answer.clone()),
            Some(_) => Begun::Working,
            None => {
                self.kept.insert(key.to_owned(), Kept { body: body.clone(), since: now, answer: None });
                Begun::Fresh
            }
        }
    }

    pub(super) fn answered(&mut self, key: &str, answer: &Answer) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.answer = Some(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn a_key_lives_from_its_first_use_to_the_end_of_its_lifetime() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let body = Bytes::from_static(b"body");
        let mut keys = Keys::new(Duration::from_secs(10));

        assert!(matches!(keys.begin("k", &body, start), Begun::Fresh));
        assert!(matches!(keys.begin("k", &body, after(60)), Begun::Working));
        assert!(matches!(keys.begin("k", &Bytes::from_static(b"other"), after(1)), Begun::Other));

        keys.answered("k", &Answer::new(StatusCode::ACCEPTED, ""));
        assert!(matches!(keys.begin("k", &body, after(9)), Begun::Again(_)));
        assert!(matches!(keys.begin("k", &body, after(10)), Begun::Fresh));
    }

    #[test]
    fn without_a_lifetime_every_use_is_the_first() {
        let body = Bytes::from_static(b"body");
        let mut keys = Keys::new(Duration::ZERO);
        assert!(matches!(keys.begin("k", &body, Instant::now()), Begun::Fresh));
        assert!(matches!(keys.begin("k", &body, Instant::now()), Begun::Fresh));
    }
}
