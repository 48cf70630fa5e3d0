//! POST /messages/delivery_status: takes the provider's reports into the record; and an operator's word on a
//! batch that no report settles, or on a number; and a caller's on a message that still waits.
//!
//! Every update stands for itself. A report about a message whose batch is not settled proves that the
//! provider got the batch, so the batch is settled first: if that fails, the provider repeats the call
//! and nothing has been lost.

mod callback;
mod cancellation;
mod messagebird;
mod numbers;
mod resolution;

use std::collections::{BTreeMap, HashMap};

use aws_config::SdkConfig;
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt, Response};
use serde::Serialize;
use shared::auth::Clients;
use shared::batch::{Answer, BatchState, Outcome};
use shared::clock;
use shared::config::{Refused, Source};
use shared::courier::confirm_members;
use shared::http::{Problem, json, json_body};
use shared::id::{BatchId, MessageId};
use shared::message::Message;
use shared::provider::Provider;
use shared::record::RecordError;
use shared::record::batches::Batches;
use shared::record::messages::Messages;
use shared::record::moves::{Move, Moved};
use shared::record::numbers::Numbers;
use shared::report::{self, Unreadable, Update};
use shared::state::{Report, State, Verdict};
use shared::webhook::Reporter;
use tracing::{error, info, warn};

const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Rounds of deciding again on messages that somebody else moved in between.
const ROUNDS_MAX: usize = 5;

pub struct App {
    reporters: BTreeMap<String, Reporter>,
    clients: Clients,
    providers: Vec<Provider>,
    messages: Messages,
    batches: Batches,
    numbers: Numbers,
}

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    message_id: &'a str,
    result: Taken,
}

/// What became of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Taken {
    Recorded,
    Repeated,
    Stale,
    /// Recorded, and the record had said that nothing was sent.
    Contradicted,
    UnknownId,
    NotAStatus,
    Malformed,
}

/// Who says it.
#[derive(Clone, Copy)]
struct Origin<'a> {
    /// One of these providers.
    providers: &'a [&'a str],
    /// The batch that this is about, where the protocol names one.
    batch: Option<BatchId>,
}

/// The updates of one message, in order, with what becomes of each.
struct Thread {
    seen: Message,
    reports: Vec<(usize, Report)>,
}

impl App {
    pub fn read<F: Fn(&str) -> Option<String>>(source: &Source<F>, aws: &SdkConfig) -> Result<Self, Refused> {
        Ok(Self {
            reporters: source.reporters()?,
            clients: Clients::read(source)?,
            providers: source.providers()?,
            messages: Messages::new(aws, source.text("MESSAGES_TABLE")?),
            batches: Batches::new(aws, source.text("BATCHES_TABLE")?),
            numbers: Numbers::new(aws, source.text("NUMBERS_TABLE")?),
        })
    }

    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Error> {
        let path: Vec<_> = request.raw_http_path().split('/').skip(1).collect();
        let answer = match (request.method(), &path[..]) {
            (&Method::POST, ["messages", "delivery_status"]) => self.post_delivery_status(&request).await,
            (&Method::GET, ["messages", "delivery_status", provider]) => {
                self.get_delivery_status(&request, provider).await
            }
            (&Method::POST, ["messages", "delivery_status", provider, id]) => {
                self.post_callback(&request, provider, id).await
            }
            (&Method::POST, ["batches", id, "resolution"]) => self.post_resolution(&request, id).await,
            (&Method::PUT, ["numbers", recipient]) => self.put_number(&request, recipient).await,
            (&Method::DELETE, ["messages", id]) => self.delete_message(&request, id).await,
            _ => Err(Problem::NoRoute),
        };
        Ok(answer.unwrap_or_else(|problem| problem.response()))
    }

    async fn post_delivery_status(&self, request: &Request) -> Result<Response<Body>, Problem> {
        let body: &[u8] = request.body();
        if body.len() > BODY_BYTES_MAX {
            return Err(Problem::TooLarge { limit_bytes: BODY_BYTES_MAX });
        }
        let by = Reporter::verify_any(&self.reporters, request.headers(), body, clock::now())?;
        let origin = Origin { providers: &by, batch: None };
        self.answer(origin, &report::parse(&json_body(request, BODY_BYTES_MAX)?)?).await
    }

    /// Takes the updates of one origin and says what became of each, whatever protocol they came by.
    async fn answer(&self, origin: Origin<'_>, updates: &[Update]) -> Result<Response<Body>, Problem> {
        let taken = self.take(origin, updates).await?;
        for (update, taken) in updates.iter().zip(&taken) {
            match taken {
                Taken::Recorded | Taken::Repeated | Taken::Stale => {}
                Taken::Contradicted => error!(
                    message_id = update.message_id,
                    "the provider reports a message that the record says was not sent"
                ),
                // Only ids that we made are safe to log: anything else is somebody's text.
                Taken::UnknownId | Taken::NotAStatus | Taken::Malformed => {
                    let message_id = update.read.as_ref().ok().map(|(id, _)| id.to_string());
                    warn!(message_id, cause = ?taken, "an update was not taken");
                }
            }
        }
        info!(
            updates = updates.len(),
            recorded = taken.iter().filter(|taken| **taken == Taken::Recorded).count(),
            "reported"
        );
        let results =
            updates.iter().zip(taken).map(|(update, result)| Entry { message_id: &update.message_id, result });
        Ok(json(StatusCode::OK, &Results { results: results.collect() }))
    }

    /// Takes the updates; the results are in their order.
    async fn take(&self, origin: Origin<'_>, updates: &[Update]) -> Result<Vec<Taken>, Problem> {
        let mut taken: Vec<_> = updates.iter().map(unread).collect();
        let mut threads = self.threads(updates).await?;
        self.deactivate_invalid(threads.values()).await?;
        for _ in 0..ROUNDS_MAX {
            let moves = self.decide(origin, &threads, &mut taken)?;
            let moved = threads.values().filter(|thread| moves.iter().any(|one| one.id() == thread.seen.id));
            self.settle_batches(moved.filter(|thread| !self.is_anothers(&thread.seen, origin))).await?;
            let results = self.messages.make(&moves).await;
            let mut lost = HashMap::new();
            for (moved, result) in moves.iter().zip(results) {
                if let (Moved::Found(Some(found)), Some(thread)) = (result?, threads.remove(&moved.id())) {
                    lost.insert(found.id, Thread { seen: *found, ..thread });
                }
            }
            if lost.is_empty() {
                return Ok(taken);
            }
            threads = lost;
        }
        // What others moved in every round is not recorded: the provider has to repeat it.
        warn!(messages = threads.len(), "reports lost every round");
        Err(Problem::Unavailable)
    }

    /// The readable updates by message, with each message as it is now; unknown messages are left out.
    async fn threads(&self, updates: &[Update]) -> Result<HashMap<MessageId, Thread>, RecordError> {
        let read: Vec<_> =
            updates.iter().enumerate().filter_map(|(n, update)| Some((n, *update.read.as_ref().ok()?))).collect();
        let ids: Vec<_> = read.iter().map(|(_, (id, _))| *id).collect();
        let messages = self.messages.get_many(&ids).await?;
        let mut threads: HashMap<_, _> =
            messages.into_iter().map(|seen| (seen.id, Thread { seen, reports: Vec::new() })).collect();
        for (n, (id, report)) in read {
            if let Some(thread) = threads.get_mut(&id) {
                thread.reports.push((n, report));
            }
        }
        Ok(threads)
    }

    /// The message is now with another batch than the one that is reported, or with another provider than those who
    /// report. One that is not configured any more may have been renamed.
    fn is_anothers(&self, message: &Message, origin: Origin<'_>) -> bool {
        let other = message.provider.as_deref().filter(|provider| !origin.providers.contains(provider));
        origin.batch.is_some_and(|batch| message.batch_id != Some(batch))
            || other.is_some_and(|provider| self.reporters.contains_key(provider))
    }

    /// One move for each message that its updates move, however many there are.
    fn decide(
        &self,
        origin: Origin<'_>,
        threads: &HashMap<MessageId, Thread>,
        taken: &mut [Taken],
    ) -> Result<Vec<Move>, RecordError> {
        let now = clock::now();
        let mut moves = Vec::new();
        for Thread { seen, reports } in threads.values() {
            let (mut state, mut last, mut contradicts) = (seen.state, None, false);
            let anothers = self.is_anothers(seen, origin);
            for (n, report) in reports {
                let verdict = if anothers { state.take_from_another(*report) } else { state.take(*report) };
                taken[*n] = match verdict {
                    Verdict::Moves(_) => Taken::Recorded,
                    Verdict::Contradicts(_) => Taken::Contradicted,
                    Verdict::Repeated => Taken::Repeated,
                    Verdict::Stale => Taken::Stale,
                };
                if matches!(taken[*n], Taken::Recorded | Taken::Contradicted) {
                    contradicts |= taken[*n] == Taken::Contradicted;
                    (state, last) = (report.state(), Some(*report));
                }
            }
            if let Some(report) = last {
                moves.push(Move::report(seen, report, contradicts, now)?);
            }
        }
        Ok(moves)
    }

    /// A report about a message that was handed over proves that its whole batch arrived.
    async fn settle_batches(&self, threads: impl Iterator<Item = &Thread>) -> Result<(), RecordError> {
        let mut proven: BTreeMap<(&str, BatchId), bool> = BTreeMap::new();
        for Thread { seen, .. } in threads.filter(|thread| thread.seen.state.is_unsettled()) {
            if let (Some(provider), Some(batch_id)) = (seen.provider.as_deref(), seen.batch_id) {
                *proven.entry((provider, batch_id)).or_default() |= seen.state == State::Unconfirmed;
            }
        }
        for ((provider, id), unconfirmed) in proven {
            let now = clock::now();
            let arrived = Outcome::Confirmed { request_id: None, refused: Vec::new() };
            match self.batches.settle(provider, id, &arrived, &Answer::default(), now).await? {
                // While its courier still waits for the provider's answer, that will say which members were
                // refused; the members are told here only if there is no such courier any more.
                Some(batch) if batch.state == BatchState::Confirmed && (unconfirmed || batch.deadline < now) => {
                    confirm_members(&self.messages, &self.batches, &batch).await;
                }
                Some(batch) if batch.state == BatchState::Confirmed => {}
                _ => error!(batch_id = %id, "the provider reports a batch that the record says was not sent"),
            }
        }
        Ok(())
    }

    /// Opens the connection before the first call needs it; what fails here fails there again, and is told there.
    pub async fn warm_up(&self) {
        self.messages.warm_up().await;
    }
}

/// What becomes of an update before any message was read.
fn unread(update: &Update) -> Taken {
    match update.read {
        Ok(_) | Err(Unreadable::UnknownId) => Taken::UnknownId,
        Err(Unreadable::NotAStatus) => Taken::NotAStatus,
        Err(Unreadable::Malformed) => Taken::Malformed,
    }
}
