//! The ways in which a provider can fail a request.
//!
//! They differ in what the client observes and in whether the batch was accepted. The first says
//! little about the second: most of those without an answer form a pair, one accepted and one not,
//! that no client can tell apart.

use std::collections::VecDeque;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION, RETRY_AFTER};

use super::connection::Answer;

/// What goes wrong with one request. A batch is billed if it is accepted, and only then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Accepted: the work takes this long, and continues if the client leaves.
    Latency { ms: u64 },
    /// Not accepted: 429.
    TooMany { retry_after_s: u64 },
    /// Not accepted: 503.
    Busy { retry_after_s: u64 },
    /// Not accepted: 500 with an error document.
    ServerError,
    /// Not accepted: 502 from a gateway in front of the provider, so that no client can know.
    BadGateway,
    /// Not accepted: 401.
    WrongToken,
    /// Not accepted: 302 to another address.
    Redirect,
    /// Not accepted: 400 for the whole batch.
    RefuseBatch,
    /// Accepted without the messages whose recipients end in this suffix. If the protocol cannot
    /// refuse single messages, one of them makes the answer a 422 for the whole batch.
    RefuseMessages { recipient_suffix: String },
    /// Accepted, and then no byte for as long as the client waits.
    AcceptThenSilence,
    /// Not accepted, and no byte for as long as the client waits.
    SilenceBeforeAccepting,
    /// Not accepted: the connection is reset before the body is read.
    Reset,
    /// Accepted, and then the connection is reset.
    ResetAfterAccepting,
    /// Accepted, and the answer breaks off in the middle of its body.
    CutBody,
    /// Accepted, and the answer has the right status with a body that cannot be read.
    Unreadable,
    /// Accepted so much later, after the connection was closed at once.
    LateAccept { ms: u64 },
}

impl Mishap {
    /// The answer that replaces all work, if this mishap has one.
    pub(super) fn instead(&self, refusal: fn(StatusCode, &str, &str) -> Answer) -> Option<Answer> {
        Some(match self {
            Self::TooMany { retry_after_s } => {
                refusal(StatusCode::TOO_MANY_REQUESTS, "too_many", "slow down")
                    .with(RETRY_AFTER, (*retry_after_s).into())
            }
            Self::Busy { retry_after_s } => {
                refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", "come back later")
                    .with(RETRY_AFTER, (*retry_after_s).into())
            }
            Self::ServerError => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "nothing was accepted",
            ),
            Self::BadGateway => Answer::new(StatusCode::BAD_GATEWAY, "<h1>502 Bad Gateway</h1>"),
            Self::WrongToken => refusal(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the token is wrong",
            ),
            Self::Redirect => Answer::new(StatusCode::FOUND, "")
                .with(LOCATION, HeaderValue::from_static("/elsewhere")),
            Self::RefuseBatch => refusal(
                StatusCode::BAD_REQUEST,
                "refused",
                "this batch is not welcome",
            ),
            _ => return None,
        })
    }
}

/// The mishaps to come: first those in the queue, in order, then random ones.
pub(super) struct Mishaps {
    queued: VecDeque<Mishap>,
    mix: Vec<(f64, Mishap)>,
    chance: fastrand::Rng,
}

impl Mishaps {
    /// `mix` lists mishaps with their probabilities. The rest of the requests succeeds.
    pub(super) fn new(mix: Vec<(f64, Mishap)>, seed: u64) -> Self {
        Self {
            queued: VecDeque::new(),
            mix,
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    pub(super) fn queue(&mut self, mishap: Mishap) {
        self.queued.push_back(mishap);
    }

    /// Clears all mishaps.
    pub(super) fn end(&mut self) {
        self.queued.clear();
        self.mix.clear();
    }

    /// The mishap of the next request.
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
        let share =
            |wanted: Option<Mishap>| drawn.iter().filter(|mishap| **mishap == wanted).count() / 100;
        assert!((18..=22).contains(&share(Some(Mishap::Reset))));
        assert!((28..=32).contains(&share(Some(Mishap::CutBody))));
        assert!((48..=52).contains(&share(None)));
    }

    #[test]
    fn without_a_mix_all_goes_well() {
        assert_eq!(Mishaps::new(vec![], 7).next(), None);
    }
}
