//! When to take no more: while no provider can be reached, and what waits has waited for too long already.

use std::sync::{Mutex, PoisonError};

use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use shared::clock;
use shared::config::{Refused, Source};
use shared::http::Problem;
use shared::record::messages::Messages;
use shared::record::providers::Providers;
use shared::record::range::{Filter, Order, Step, bounds};
use shared::record::{RecordError, state_values};
use shared::state::State;
use tracing::warn;

/// A process asks again after so long: outages are not that short.
const LOOK_S: i64 = 5;
/// Before the first breaker opened, a message may have waited its window and a few attempts.
const BEFORE_S: i64 = 120;
/// One page of each shard of two days: the oldest waiting message is on it, or nothing has waited for long.
const PAGE_SIZE: usize = 8;
const PAGES_MAX: usize = 64;

pub(crate) struct Backlog {
    messages: Messages,
    providers: Providers,
    names: Vec<String>,
    window: SignedDuration,
    /// A message that has waited longer than this, with no way out, is too much.
    age_max: SignedDuration,
    /// When was asked, and what was found.
    known: Mutex<Option<(Timestamp, bool)>>,
}

impl Backlog {
    pub(crate) fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>, aws: &SdkConfig) -> Result<Self, Refused> {
        Ok(Self {
            messages: Messages::new(aws, source.text("MESSAGES_TABLE")?),
            providers: Providers::new(aws, source.text("PROVIDERS_TABLE")?),
            names: source.providers()?.into_iter().map(|provider| provider.name).collect(),
            window: source.plan()?.window,
            age_max: SignedDuration::from_secs(source.value::<u32>("BACKLOG_AGE_MAX_S")?.into()),
            known: Mutex::new(None),
        })
    }

    /// Refuses while the backlog is too old. A look that fails refuses nothing: the record decides what is taken.
    pub(crate) async fn admit(&self) -> Result<(), Problem> {
        let now = clock::now();
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let too_old = match known {
            Some((at, found)) if now.duration_since(at).abs() < SignedDuration::from_secs(LOOK_S) => found,
            _ => {
                let found = self.is_too_old(now).await.unwrap_or_else(|error| {
                    warn!(%error, "whether there is a backlog is not known");
                    false
                });
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, found));
                found
            }
        };
        if too_old { Err(Problem::Backlog) } else { Ok(()) }
    }

    async fn is_too_old(&self, now: Timestamp) -> Result<bool, RecordError> {
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let standings = self.providers.standings(&names).await?;
        // Since when the first of them is away, if all are.
        let away: Option<Vec<_>> = standings.into_iter().map(|standing| standing.open_since).collect();
        let Some(since) = away.and_then(|away| away.into_iter().min()) else { return Ok(false) };
        let (from, to) = bounds(since - self.window - SignedDuration::from_secs(BEFORE_S), now - self.age_max);
        let filter = Filter::default().one_of("state", state_values(&[State::Accepted])?);
        let mut waiting = self.messages.range(Order::OldestFirst, from, to, filter, PAGE_SIZE, PAGES_MAX);
        Ok(matches!(waiting.next().await?, Step::Message(_)))
    }
}
