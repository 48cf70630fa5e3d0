//! From what a caller wants to what the record has: one way for a single message and for many.
//!
//! Each message stands for itself: none is lost or done twice because of another. The numbers are looked up first,
//! and only then ids are made, so that a new message is younger than the operator's word that let it pass. What may
//! not be accepted may still be the repeat of a call that was, so its key is looked up, and nothing is stored.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shared::auth::{Client, sha256_hex};
use shared::clock;
use shared::http::Problem;
use shared::id::MessageId;
use shared::message::{Invalid, Message, Recipient, Request};
use shared::queue::{BELL_IDS_MAX, Bell};
use shared::record::idempotency::Reserved;
use shared::record::messages::Accepted;
use tracing::{error, warn};

use crate::App;

/// Messages of one call that are on their way to the record at once.
const AT_ONCE: usize = 32;
/// The longest that recording one message may take, with all its retries, and some more.
const RECORD_MAX_S: i64 = 10;
/// No message is begun later in its call than this: what is begun has time for its retries.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// A message that a caller asks for.
pub(crate) struct Wanted {
    pub(crate) request: Request,
    /// Under which the caller may ask for it again.
    pub(crate) key: Option<String>,
}

/// A message that the record has.
pub(crate) struct Taken {
    pub(crate) message: Message,
    /// It was accepted by an earlier call.
    pub(crate) replayed: bool,
}

/// How a message is to be taken.
enum Decision {
    /// It has to be recorded; its caller may have asked for it before.
    Record { message: Message, is_known: bool },
    /// An earlier call did.
    Recorded(Message),
}

impl App {
    /// Takes what a client wants; the results are in its order.
    pub(crate) async fn take(&self, client: &Client, wanted: Vec<Wanted>) -> Vec<Result<Taken, Problem>> {
        let begun = Instant::now();
        let recipients: Vec<_> = wanted.iter().map(|wanted| &wanted.request.recipient).collect();
        let inactive = match self.numbers.inactive(&recipients).await {
            Ok(inactive) => inactive,
            Err(error) => {
                error!(%error, "the numbers were not looked up");
                return wanted.iter().map(|_| Err(Problem::Unavailable)).collect();
            }
        };
        let decisions = each(wanted.into_iter().map(|wanted| self.decide(client, wanted, &inactive, begun))).await;
        let bells = self.bells(&decisions);
        // Whoever comes at the sound of a bell must find its messages. One that rings for a single message rings
        // when the record has long answered; if that fails, it rings for nothing.
        let late = matches!(&bells[..], [bell] if bell.ids.len() == 1 && !bell.full)
            && self.plan.window.as_secs() >= RECORD_MAX_S;
        let record = each(decisions.into_iter().map(|decision| self.carry_out(decision, begun)));
        if late {
            return tokio::join!(record, self.ring(bells)).0;
        }
        let taken = record.await;
        self.ring(bells).await;
        taken
    }

    async fn decide(
        &self,
        client: &Client,
        wanted: Wanted,
        inactive: &HashSet<Recipient>,
        begun: Instant,
    ) -> Result<Decision, Problem> {
        in_time(begun)?;
        let now = clock::now();
        if let Some(refusal) = refusal(&wanted.request, inactive, now) {
            let earlier = self.accepted_before(client, &wanted).await?;
            return earlier.map(Decision::Recorded).ok_or_else(|| refusal.into());
        }
        let (id, is_known) = self.id_for(client, &wanted).await?;
        Ok(Decision::Record { message: Message::accepted(id, &client.name, wanted.request, now), is_known })
    }

    async fn carry_out(&self, decision: Result<Decision, Problem>, begun: Instant) -> Result<Taken, Problem> {
        let (message, is_known) = match decision? {
            Decision::Record { message, is_known } => (message, is_known),
            Decision::Recorded(message) => return Ok(Taken { message, replayed: true }),
        };
        in_time(begun)?;
        Ok(match self.messages.accept(&message).await? {
            Accepted::New => Taken { message, replayed: false },
            Accepted::Already(found) => Taken { message: *found, replayed: is_known },
        })
    }

    /// The id of the message that the caller asks for, and whether the caller asked before.
    async fn id_for(&self, client: &Client, wanted: &Wanted) -> Result<(MessageId, bool), Problem> {
        let id = clock::message_id();
        let Some(key) = &wanted.key else { return Ok((id, false)) };
        match self.idempotency.reserve(&client.name, key, id, &hash(&wanted.request), clock::now()).await? {
            Reserved::Fresh => Ok((id, false)),
            Reserved::Known(id) => Ok((id, true)),
            Reserved::Conflict => Err(Problem::KeyReused),
        }
    }

    /// The message that an earlier call under this key was promised, if there was one.
    async fn accepted_before(&self, client: &Client, wanted: &Wanted) -> Result<Option<Message>, Problem> {
        let Some(key) = &wanted.key else { return Ok(None) };
        match self.idempotency.find(&client.name, key, &hash(&wanted.request), clock::now()).await? {
            Some(Reserved::Known(id)) => Ok(self.messages.get(id).await?),
            Some(Reserved::Conflict) => Err(Problem::KeyReused),
            Some(Reserved::Fresh) | None => Ok(None),
        }
    }

    /// Bells for when the messages are due; the first of them is for now, if the messages fill a batch.
    fn bells(&self, decisions: &[Result<Decision, Problem>]) -> Vec<Bell> {
        let recorded = decisions.iter().filter_map(|decision| match decision {
            Ok(Decision::Record { message, is_known }) => Some((message.id, *is_known)),
            _ => None,
        });
        let recorded: Vec<_> = recorded.collect();
        let fresh = recorded.iter().filter(|(_, is_known)| !is_known).count();
        let before = self.accepted.fetch_add(fresh, Ordering::Relaxed);
        let fills = before / self.plan.size < before.wrapping_add(fresh) / self.plan.size;
        let ids: Vec<_> = recorded.into_iter().map(|(id, _)| id).collect();
        let bells = ids.chunks(BELL_IDS_MAX).enumerate();
        bells.map(|(n, ids)| Bell { ids: ids.to_vec(), full: fills && n == 0 }).collect()
    }

    /// A bell that can't be rung costs time only: another one, or the sweep, will find the messages.
    async fn ring(&self, bells: Vec<Bell>) {
        let rung = bells.into_iter().map(|bell| async move {
            let delay = if bell.full { SignedDuration::ZERO } else { self.plan.window };
            self.queue.ring(&bell, delay).await
        });
        for error in each(rung).await.into_iter().filter_map(Result::err) {
            warn!(%error, "the bell was not rung");
        }
    }
}

/// Why nobody may be promised this any more.
fn refusal(request: &Request, inactive: &HashSet<Recipient>, now: Timestamp) -> Option<Invalid> {
    if request.is_expired(now) {
        return Some(request.expired());
    }
    inactive.contains(&request.recipient).then(|| request.inactive())
}

/// Nothing more is begun when the call has taken long: its caller is told to try again instead.
fn in_time(begun: Instant) -> Result<(), Problem> {
    if begun.elapsed() < BEGIN_MAX { Ok(()) } else { Err(Problem::Unavailable) }
}

/// What a key stands for.
fn hash(request: &Request) -> String {
    sha256_hex(&serde_json::to_vec(request).unwrap_or_default())
}

/// Awaits them all, some at once; the results are in their order.
async fn each<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    stream::iter(futures).buffered(AT_ONCE).collect().await
}
