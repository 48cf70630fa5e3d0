//! When to take no more: while no provider can be reached, and what waits has waited for too long already.

use std::sync::{Mutex, PoisonError};

use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use shared::clock;
use shared::config::{Refused, Source};
use shared::http::Problem;
use shared::id::MessageId;
use shared::record::messages::Messages;
use shared::record::providers::Providers;
use shared::record::range::{Filter, Order, Step, bounds};
use shared::record::{RecordError, state_values};
use shared::state::State;
use tracing::warn;

/// A process asks again after so long: outages are not that short.
const LOOK_S: i64 = 5;
/// When the first provider went away, a message may have waited for so long beyond its window.
const BEFORE_S: i64 = 30;
/// One look reads at most some ten thousand messages, most of them sent before the outage; the next one goes on there.
const PAGE_SIZE: usize = 256;
const PAGES_MAX: usize = 64;

pub(crate) struct Backlog {
    messages: Messages,
    providers: Providers,
    names: Vec<String>,
    window: SignedDuration,
    /// A message that has waited longer than this, with no way out, is too much.
    age_max: SignedDuration,
    known: Mutex<Option<Look>>,
}

/// What was found when the record was looked at.
#[derive(Clone, Copy)]
struct Look {
    at: Timestamp,
    /// Nothing waits that is older than this, while no provider can be reached.
    oldest: Option<MessageId>,
    /// The message of that id waits indeed; otherwise the look ended there.
    waits: bool,
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
        let fresh = known.filter(|look| now.duration_since(look.at).abs() < SignedDuration::from_secs(LOOK_S));
        let look = match fresh {
            Some(look) => look,
            None => {
                let nothing = Look { at: now, oldest: None, waits: false };
                let look = self.look(known.and_then(|look| look.oldest), now).await.unwrap_or_else(|error| {
                    warn!(%error, "whether there is a backlog is not known");
                    nothing
                });
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
                look
            }
        };
        let since = look.oldest.filter(|_| look.waits).map(|oldest| oldest.created_at());
        match since {
            Some(since) if now.duration_since(since) > self.age_max => Err(Problem::Backlog),
            _ => Ok(()),
        }
    }

    /// Looks for the oldest message that waits, from `place` on if an earlier look came that far.
    async fn look(&self, place: Option<MessageId>, now: Timestamp) -> Result<Look, RecordError> {
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let standings = self.providers.standings(&names).await?;
        // Since when the first of them is away, if all are.
        let away: Option<Vec<_>> = standings.into_iter().map(|standing| standing.open_since).collect();
        let Some(since) = away.and_then(|away| away.into_iter().min()) else {
            return Ok(Look { at: now, oldest: None, waits: false });
        };
        let (from, to) = bounds(since - self.window - SignedDuration::from_secs(BEFORE_S), now);
        let filter = Filter::default().one_of("state", state_values(&[State::Accepted])?);
        let from = place.map_or(from, |place| place.max(from));
        let mut waiting = self.messages.range(Order::OldestFirst, from, to, filter, PAGE_SIZE, PAGES_MAX);
        let (oldest, waits) = match waiting.next().await? {
            Step::Message(message) => (Some(message.id), true),
            Step::Paused(place) => (Some(place), false),
            Step::End => (None, false),
        };
        Ok(Look { at: now, oldest, waits })
    }
}
