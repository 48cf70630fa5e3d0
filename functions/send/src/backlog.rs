//! When to accept no more messages: while no provider can be reached, and messages have already
//! waited for too long. Callers then get a 503.

use std::sync::{Mutex, PoisonError};

use aws_config::SdkConfig;
use domain::batch_policy::BatchPolicy;
use domain::id::MessageId;
use domain::provider_list::ProviderList;
use domain::state::State;
use edge::config::{Config, ConfigError};
use edge::problem::Problem;
use jiff::{SignedDuration, Timestamp};
use record::filter::Filter;
use record::messages::Messages;
use record::providers::Providers;
use record::range::{Order, Step, bounds};
use record::{RecordError, clock};
use tracing::warn;

/// How long a process uses what it found, in seconds. An outage that matters here lasts minutes.
const LOOK_S: i64 = 5;
/// How long a message may have waited beyond its window when the first breaker opened, in
/// seconds: for a slot, or for its bell.
const BEFORE_S: i64 = 30;
/// Messages in one page of a look at the record.
const PAGE_SIZE: usize = 256;
/// Pages in one look: some ten thousand messages, most of them sent before the outage.
/// The next look goes on from there.
const PAGES_MAX: usize = 64;

/// Decides whether messages are accepted.
pub(crate) struct Backlog {
    messages: Messages,
    providers: Providers,
    names: Vec<String>,
    window: SignedDuration,
    /// The longest that a message may have waited while no provider can be reached.
    age_max: SignedDuration,
    known: Mutex<Option<Look>>,
}

/// What a look at the record found.
#[derive(Clone, Copy)]
struct Look {
    at: Timestamp,
    found: Found,
}

#[derive(Clone, Copy)]
enum Found {
    /// Nothing waits, or a provider can be reached.
    NoBacklog,
    /// The oldest message that waits.
    Oldest(MessageId),
    /// Nothing older than this waits. The next look goes on from there.
    NotUpTo(MessageId),
}

impl Found {
    /// Nothing older than this waits.
    fn place(self) -> Option<MessageId> {
        match self {
            Found::NoBacklog => None,
            Found::Oldest(id) | Found::NotUpTo(id) => Some(id),
        }
    }
}

impl Backlog {
    pub(crate) fn new<F: Fn(&str) -> Option<String>>(
        config: &Config<F>,
        aws: &SdkConfig,
        providers: &ProviderList,
        policy: BatchPolicy,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            messages: Messages::new(aws, config.text("MESSAGES_TABLE")?),
            providers: Providers::new(aws, config.text("PROVIDERS_TABLE")?),
            names: providers
                .iter()
                .map(|provider| provider.name.clone())
                .collect(),
            window: policy.window,
            age_max: SignedDuration::from_secs(config.value::<u32>("BACKLOG_AGE_MAX_S")?.into()),
            known: Mutex::new(None),
        })
    }

    /// Refuses messages while the backlog is too old. A look that fails refuses nothing, because
    /// the write of the message (W1) fails with it if the record is down.
    pub(crate) async fn admit(&self) -> Result<(), Problem> {
        let now = clock::now();
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known
            .filter(|look| now.duration_since(look.at).abs() < SignedDuration::from_secs(LOOK_S));
        let look = match fresh {
            Some(look) => look,
            None => {
                let found = self
                    .look(known.and_then(|look| look.found.place()), now)
                    .await;
                let found = found.unwrap_or_else(|error| {
                    warn!(%error, "the backlog could not be looked at; messages are accepted");
                    Found::NoBacklog
                });
                let look = Look { at: now, found };
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
                look
            }
        };
        match look.found {
            Found::Oldest(id) if now.duration_since(id.created_at()) > self.age_max => {
                Err(Problem::Backlog)
            }
            _ => Ok(()),
        }
    }

    /// Looks for the oldest waiting message, from `place` on if an earlier look came that far.
    async fn look(&self, place: Option<MessageId>, now: Timestamp) -> Result<Found, RecordError> {
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let states = self.providers.states(&names).await?;
        // When the first breaker opened, if all are open.
        let open_since: Option<Vec<_>> = states.into_iter().map(|state| state.open_since).collect();
        let Some(since) = open_since.and_then(|all| all.into_iter().min()) else {
            return Ok(Found::NoBacklog);
        };
        let (from, to) = bounds(
            since - self.window - SignedDuration::from_secs(BEFORE_S),
            now,
        );
        let filter = Filter::default().states(&[State::Accepted])?;
        let from = place.map_or(from, |place| place.max(from));
        let mut waiting = self
            .messages
            .range(Order::OldestFirst, (from, to), filter)
            .in_pages(PAGE_SIZE, PAGES_MAX);
        Ok(match waiting.next().await? {
            Step::Message(message) => Found::Oldest(message.id),
            Step::Paused(place) => Found::NotUpTo(place),
            Step::End => Found::NoBacklog,
        })
    }
}
