//! Idempotency keys: a repeated request gets the first answer again and is not billed again.
//!
//! A key is remembered from the start of the work. A request that is refused before that leaves its
//! key free, so that a corrected request can use it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use crate::simulator::Answer;

pub(super) struct Keys {
    lifetime: Duration,
    kept: HashMap<String, KeyEntry>,
}

struct KeyEntry {
    body: Bytes,
    since: Instant,
    /// `None` until the work ends.
    answer: Option<Answer>,
}

/// What is known of the key of a request.
#[derive(Debug)]
pub(super) enum KeyUse {
    /// It was not used within its lifetime. The caller works and then calls [`Keys::answered`].
    First,
    /// The same request was answered before.
    Repeated(Answer),
    /// The same request is still being worked on.
    InProgress,
    /// It was used for a request with another body.
    OtherBody,
}

impl Keys {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            kept: HashMap::new(),
        }
    }

    pub(super) fn begin(&mut self, key: &str, body: &Bytes, now: Instant) -> KeyUse {
        if self.lifetime.is_zero() {
            return KeyUse::First;
        }
        self.kept
            .retain(|_, kept| kept.answer.is_none() || now - kept.since < self.lifetime);
        match self.kept.get(key) {
            Some(kept) if kept.body != body => KeyUse::OtherBody,
            Some(KeyEntry {
                answer: Some(answer),
                ..
            }) => KeyUse::Repeated(answer.clone()),
            Some(_) => KeyUse::InProgress,
            None => {
                self.kept.insert(
                    key.to_owned(),
                    KeyEntry {
                        body: body.clone(),
                        since: now,
                        answer: None,
                    },
                );
                KeyUse::First
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

        assert!(matches!(keys.begin("k", &body, start), KeyUse::First));
        assert!(matches!(
            keys.begin("k", &body, after(60)),
            KeyUse::InProgress
        ));
        assert!(matches!(
            keys.begin("k", &Bytes::from_static(b"other"), after(1)),
            KeyUse::OtherBody
        ));

        keys.answered("k", &Answer::new(StatusCode::ACCEPTED, ""));
        assert!(matches!(
            keys.begin("k", &body, after(9)),
            KeyUse::Repeated(_)
        ));
        assert!(matches!(keys.begin("k", &body, after(10)), KeyUse::First));
    }

    #[test]
    fn without_a_lifetime_every_use_is_the_first() {
        let body = Bytes::from_static(b"body");
        let mut keys = Keys::new(Duration::ZERO);
        assert!(matches!(
            keys.begin("k", &body, Instant::now()),
            KeyUse::First
        ));
        assert!(matches!(
            keys.begin("k", &body, Instant::now()),
            KeyUse::First
        ));
    }
}
