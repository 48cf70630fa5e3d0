//! Accepting messages, one or many: from requests that could be parsed
//! to messages in the record (W1).
//!
//! Each message fails by itself: none is lost or recorded twice because of another. The numbers are
//! looked up before ids are made, so that a new message is younger than the operator's decision
//! that allowed it. A message that may not be accepted now can still be the repeat of a call that
//! was accepted, so its key is looked up without reserving it.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::id::MessageId;
use domain::invalid::Invalid;
use domain::message::Message;
use domain::message_request::MessageRequest;
use domain::recipient::Recipient;
use edge::auth::Client;
use edge::problem::Problem;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use record::clock;
use record::idempotency::Reserved;
use record::messages::Accepted;
use record::queue::{BELL_IDS_MAX, Bell};
use tracing::{error, warn};

use crate::App;
use crate::idempotency_key::hash;

/// Messages of one call that are written at once: enough for a full bulk within a second or so.
const AT_ONCE: usize = 32;
/// The longest time to record a message, in seconds: the SDK's six, and some more.
const RECORD_MAX_S: i64 = 10;
/// How far into its call a write may begin. The API waits for 30 seconds, so each
/// write has time for its retries.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// A request for a message, with its key.
pub(crate) struct KeyedRequest {
    pub(crate) request: MessageRequest,
    /// The Idempotency-Key under which the client can repeat the request.
    pub(crate) key: Option<String>,
}

/// A message that the record has.
pub(crate) struct Recorded {
    pub(crate) message: Message,
    /// An earlier call recorded it.
    pub(crate) replayed: bool,
}

/// How a request is to be answered.
enum Decision {
    /// The message has to be recorded. `is_known` if an earlier call made it,
    /// whether it was recorded or not.
    Record { message: Message, is_known: bool },
    /// An earlier call recorded it.
    Recorded(Message),
}

impl App {
    /// Records the messages that a client asks for, and rings for them. The results
    /// are in the order of the requests.
    pub(crate) async fn accept(
        &self,
        client: &Client,
        requests: Vec<KeyedRequest>,
    ) -> Vec<Result<Recorded, Problem>> {
        let begun = Instant::now();
        let recipients: Vec<_> = requests
            .iter()
            .map(|keyed| &keyed.request.recipient)
            .collect();
        let inactive = match self.numbers.inactive(&recipients).await {
            Ok(inactive) => inactive,
            Err(error) => {
                error!(%error, "the numbers could not be looked up; nothing is accepted");
                return requests.iter().map(|_| Err(Problem::Unavailable)).collect();
            }
        };
        let decisions = each(
            requests
                .into_iter()
                .map(|keyed| self.decide(client, keyed, &inactive, begun)),
        )
        .await;
        let bells = self.bells(&decisions);
        // A bell must not ring before its message is recorded. A single bell with a long delay is
        // sent while the message is being recorded, because it rings long after that has ended. If
        // the record fails, it rings in vain.
        let rings_late = matches!(&bells[..], [bell] if bell.ids.len() == 1 && !bell.full)
            && self.policy.window.as_secs() >= RECORD_MAX_S;
        let record = each(
            decisions
                .into_iter()
                .map(|decision| self.carry_out(decision, begun)),
        );
        if rings_late {
            return tokio::join!(record, self.ring(bells)).0;
        }
        let recorded = record.await;
        self.ring(bells).await;
        recorded
    }

    async fn decide(
        &self,
        client: &Client,
        keyed: KeyedRequest,
        inactive: &HashSet<Recipient>,
        begun: Instant,
    ) -> Result<Decision, Problem> {
        in_time(begun)?;
        let now = clock::now();
        if let Some(refusal) = refusal(&keyed.request, inactive, now) {
            let earlier = self.accepted_before(client, &keyed).await?;
            return earlier
                .map(Decision::Recorded)
                .ok_or_else(|| refusal.into());
        }
        let (id, is_known) = self.id_for(client, &keyed).await?;
        Ok(Decision::Record {
            message: Message::accepted(id, &client.name, keyed.request, now),
            is_known,
        })
    }

    async fn carry_out(
        &self,
        decision: Result<Decision, Problem>,
        begun: Instant,
    ) -> Result<Recorded, Problem> {
        let (message, is_known) = match decision? {
            Decision::Record { message, is_known } => (message, is_known),
            Decision::Recorded(message) => {
                return Ok(Recorded {
                    message,
                    replayed: true,
                });
            }
        };
        in_time(begun)?;
        Ok(match self.messages.accept(&message).await? {
            Accepted::New => Recorded {
                message,
                replayed: false,
            },
            Accepted::Already(found) => Recorded {
                message: *found,
                replayed: is_known,
            },
        })
    }

    /// Returns the id of the message, and whether an earlier call under this key made it.
    async fn id_for(
        &self,
        client: &Client,
        keyed: &KeyedRequest,
    ) -> Result<(MessageId, bool), Problem> {
        let id = clock::message_id();
        let Some(key) = &keyed.key else {
            return Ok((id, false));
        };
        match self
            .idempotency
            .reserve((&client.name, key), id, &hash(&keyed.request), clock::now())
            .await?
        {
            Reserved::Fresh => Ok((id, false)),
            Reserved::Known(id) => Ok((id, true)),
            Reserved::Conflict => Err(Problem::KeyReused),
        }
    }

    /// Returns the message that an earlier call under this key was accepted for, if there was one.
    async fn accepted_before(
        &self,
        client: &Client,
        keyed: &KeyedRequest,
    ) -> Result<Option<Message>, Problem> {
        let Some(key) = &keyed.key else {
            return Ok(None);
        };
        match self
            .idempotency
            .find((&client.name, key), &hash(&keyed.request), clock::now())
            .await?
        {
            Some(Reserved::Known(id)) => Ok(self.messages.get(id).await?),
            Some(Reserved::Conflict) => Err(Problem::KeyReused),
            Some(Reserved::Fresh) | None => Ok(None),
        }
    }

    /// Makes bells for when the messages are due. If the messages fill a batch, the
    /// first bell rings at once instead.
    fn bells(&self, decisions: &[Result<Decision, Problem>]) -> Vec<Bell> {
        let to_record = decisions.iter().filter_map(|decision| match decision {
            Ok(Decision::Record { message, is_known }) => Some((message.id, *is_known)),
            _ => None,
        });
        let to_record: Vec<_> = to_record.collect();
        let fresh = to_record.iter().filter(|(_, is_known)| !is_known).count();
        let before = self.accepted.fetch_add(fresh, Ordering::Relaxed);
        let fills = before / self.policy.size < before.wrapping_add(fresh) / self.policy.size;
        let ids: Vec<_> = to_record.into_iter().map(|(id, _)| id).collect();
        let bells = ids.chunks(BELL_IDS_MAX).enumerate();
        bells
            .map(|(n, ids)| Bell {
                ids: ids.to_vec(),
                full: fills && n == 0,
            })
            .collect()
    }

    /// Sends the bells. One that cannot be sent costs time only: another bell, or
    /// the sweep, finds the messages.
    async fn ring(&self, bells: Vec<Bell>) {
        let sent = bells.into_iter().map(|bell| async move {
            let delay = if bell.full {
                SignedDuration::ZERO
            } else {
                self.policy.window
            };
            self.queue.ring(&bell, delay).await
        });
        for error in each(sent).await.into_iter().filter_map(Result::err) {
            warn!(%error, "SQS send failed; the sweep will ring instead");
        }
    }
}

/// Why this request may not be accepted now, if it may not.
fn refusal(
    request: &MessageRequest,
    inactive: &HashSet<Recipient>,
    now: Timestamp,
) -> Option<Invalid> {
    if request.is_expired(now) {
        return Some(request.expired());
    }
    inactive
        .contains(&request.recipient)
        .then(|| request.inactive())
}

/// Fails if the call has run for too long to begin another write. The client has to try again.
fn in_time(begun: Instant) -> Result<(), Problem> {
    if begun.elapsed() < BEGIN_MAX {
        Ok(())
    } else {
        Err(Problem::Unavailable)
    }
}

/// Awaits all futures, up to [`AT_ONCE`] at a time. The results are in their order.
async fn each<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    stream::iter(futures).buffered(AT_ONCE).collect().await
}
