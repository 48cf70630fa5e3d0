//! The ways in which a provider lets its clients down, one per request.
//!
//! They differ in what the client can observe and in whether the batch was taken. The point of the
//! list is that the first says little about the second: most of the silent ones come in a pair,
//! taken and not taken, that no client can tell apart.

use std::collections::VecDeque;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION, RETRY_AFTER};

use super::wire::Answer;

/// What happens to one request. Those that take the batch bill it; the others never do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The work takes this long. It goes on if the client leaves, as it would at a real provider.
    Latency { ms: u64 },
    /// 429: not taken.
    TooMany { retry_after_s: u64 },
    /// 503: not taken.
    Busy { retry_after_s: u64 },
    /// 500 with an error document: not taken.
    ServerError,
    /// 502 from something in front of the provider: not taken, but a client cannot know.
    BadGateway,
    /// 401: not taken.
    WrongToken,
    /// 302 to another address: not taken.
    Redirect,
    /// 400 for the batch as a whole: not taken.
    RefuseBatch,
    /// Taken, but for the messages whose recipient ends in this suffix; where a protocol can't refuse single
    /// messages, one of them spoils the batch with a 422.
    RefuseMessages { recipient_suffix: String },
    /// Taken, and then not a byte for as long as the client waits.
    AcceptThenSilence,
    /// Not taken, and not a byte for as long as the client waits.
    SilenceBeforeAccepting,
    /// Connection reset before the body is read: not taken.
    Reset,
    /// Taken, then connection reset.
    ResetAfterAccepting,
    /// Taken; the answer breaks off in the middle of its body.
    CutBody,
    /// Taken; the answer says so with a body that means nothing.
    Unreadable,
    /// The connection is closed at once, and the batch taken this much later.
    LateAccept { ms: u64 },
}

impl Mishap {
    /// The answer that is given in place of any work, if this is one of those mishaps.
    pub(super) fn instead(&self, refusal: fn(StatusCode, &str, &str) -> Answer) -> Option<Answer> {
        Some(match self {
            Self::TooMany { retry_after_s } => refusal(StatusCode::TOO_MANY_REQUESTS, "too_many", "slow down")
                .with(RETRY_AFTER, (*retry_after_s).into()),
            Self::Busy { retry_after_s } => refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", "come back later")
                .with(RETRY_AFTER, (*retry_after_s).into()),
            Self::ServerError => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "nothing was taken"),
            Self::BadGateway => Answer::new(StatusCode::BAD_GATEWAY, "<h1>502 Bad Gateway</h1>"),
            Self::WrongToken => refusal(StatusCode::UNAUTHORIZED, "unauthorized", "the token is wrong"),
            Self::Redirect => Answer::new(StatusCode::FOUND, "").with(LOCATION, HeaderValue::from_static("/elsewhere")),
            Self::RefuseBatch => refusal(StatusCode::BAD_REQUEST, "refused", "this batch is not welcome"),
            _ => return None,
        })
    }
}

/// What is to go wrong: first what was asked for, in order, then by chance.
pub(super) struct Mishaps {
    queued: VecDeque<Mishap>,
    mix: Vec<(f64, Mishap)>,
    chance: fastrand::Rng,
}

impl Mishaps {
    /// `mix` lists mishaps with their probabilities; what is left to 1 goes well.
    pub(super) fn new(mix: Vec<(f64, Mishap)>, seed: u64) -> Self {
        Self { queued: VecDeque::new(), mix, chance: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn queue(&mut self, mishap: Mishap) {
        self.queued.push_back(mishap);
    }

    /// From now on all goes well.
    pub(super) fn end(&mut self) {
        self.queued.clear();
        self.mix.clear();
    }

    /// The mishap of the request that has just arrived.
    pub(super) fn next(&mut self) -> Option<Mishap> {
        if let Some(mishap) = self.queued.pop_front() {
            return Some(mishap);
        }
        let mut drawn = self.chance.f64();
        self.mix.iter().find_map(|(probability, mishap)| {
            drawn -= probability;
            (drawn < 0.0).then(|| mishap.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_comes_before_the_mix_and_the_mix_keeps_its_shares() {
        let mut mishaps = Mishaps::new(vec![(0.2, Mishap::Reset), (0.3, Mishap::CutBody)], 7);
        mishaps.queue(Mishap::ServerError);
        assert_eq!(mishaps.next(), Some(Mishap::ServerError));

        let drawn: Vec<_> = (0..10_000).map(|_| mishaps.next()).collect();
        let share = |wanted: Option<Mishap>| drawn.iter().filter(|mishap| **mishap == wanted).count() / 100;
        assert!((18..=22).contains(&share(Some(Mishap::Reset))));
        assert!((28..=32).contains(&share(Some(Mishap::CutBody))));
        assert!((48..=52).contains(&share(None)));
    }

    #[test]
    fn without_a_mix_all_goes_well() {
        assert_eq!(Mishaps::new(vec![], 7).next(), None);
    }
}
