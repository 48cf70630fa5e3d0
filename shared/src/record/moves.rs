//! Moving messages from state to state: conditional writes in groups of 25.
//!
//! A [`Move`] says where a message shall go and under whose claim; the states that it may come from are
//! [`State::sources`], nowhere else. Every statement of a group has its own result.

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, BatchStatementResponse,
    ReturnValuesOnConditionCheckFailure,
};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::messages::Messages;
use super::{RecordError, attribute, from_item, millisecond, text, unavailable};
use crate::crash;
use crate::id::{BatchId, MessageId};
use crate::message::Message;
use crate::state::{Reason, Report, State};

/// Statements that one BatchExecuteStatement takes.
const GROUP_MAX: usize = 25;
/// Groups under way at once.
const GROUPS_AT_ONCE: usize = 8;
/// Rounds for statements that DynamoDB itself failed, e.g. by throttling.
const ROUNDS_MAX: usize = 3;

/// One message's move.
#[derive(Clone, Debug)]
pub struct Move {
    id: MessageId,
    to: State,
    from: Vec<State>,
    /// Only while this batch holds the message.
    held_by: Option<BatchId>,
    /// Only while the message's validity has this relation to the moment: `>` or `<=`.
    validity: Option<(&'static str, Timestamp)>,
    set: Vec<(&'static str, AttributeValue)>,
    remove: &'static [&'static str],
}

/// What a move did.
#[derive(Debug)]
pub enum Moved {
    Done,
    /// The condition did not hold; this was found, or nothing.
    Found(Option<Box<Message>>),
}

impl Move {
    /// W2: `batch` claims the message, for the `tries`th time, while it is valid.
    pub fn claim(message: &Message, batch: BatchId, provider: &str, now: Timestamp) -> Self {
        let tries = AttributeValue::N((message.tries + 1).to_string());
        let mut claim = Self::to(State::Sending, message.id, now);
        claim.set.extend([("batch_id", text(batch)), ("provider", text(provider)), ("tries", tries)]);
        claim.validity = Some((">", now));
        claim
    }

    /// W6: the provider took it.
    pub fn confirm(id: MessageId, batch: BatchId, now: Timestamp) -> Self {
        Self::to(State::Confirmed, id, now).held_by(batch)
    }

    /// W6: the provider may have taken it.
    pub fn unconfirm(id: MessageId, batch: BatchId, now: Timestamp) -> Self {
        Self::to(State::Unconfirmed, id, now).held_by(batch)
    }

    /// W6: provably not sent, and it will not be.
    pub fn refuse(id: MessageId, batch: BatchId, reason: Reason, now: Timestamp) -> Result<Self, RecordError> {
        let mut refuse = Self::to(State::NotSent, id, now).held_by(batch);
        refuse.set.push(("reason", attribute(reason)?));
        Ok(refuse)
    }

    /// W6: refused singly by the provider that took its batch. That answer outranks what a report about another
    /// member made us conclude.
    pub fn refuse_taken(id: MessageId, batch: BatchId, now: Timestamp) -> Result<Self, RecordError> {
        let mut refuse = Self::refuse(id, batch, Reason::Rejected, now)?;
        refuse.from.push(State::Confirmed);
        Ok(refuse)
    }

    /// W6 and W8: provably not sent; it goes out with another batch.
    pub fn release(id: MessageId, batch: BatchId, now: Timestamp) -> Self {
        let release = Self::to(State::Accepted, id, now).held_by(batch);
        Self { remove: &["batch_id", "provider"], ..release }
    }

    /// As a release, after an error answer, which counts against the message.
    pub fn release_after_error(message: &Message, batch: BatchId, now: Timestamp) -> Self {
        let mut release = Self::release(message.id, batch, now);
        release.set.push(("errors", AttributeValue::N((message.errors + 1).to_string())));
        release
    }

    /// W6: refused together with others; it goes out in a batch of at most `batch_max`.
    pub fn release_apart(id: MessageId, batch: BatchId, batch_max: usize, now: Timestamp) -> Self {
        let mut release = Self::release(id, batch, now);
        release.set.push(("batch_max", AttributeValue::N(batch_max.to_string())));
        release
    }

    /// An operator's word that the batch was not sent: it goes out with another batch.
    pub fn requeue(id: MessageId, batch: BatchId, now: Timestamp) -> Self {
        let mut requeue = Self::release(id, batch, now);
        requeue.from.push(State::Unconfirmed);
        requeue
    }

    /// W11: too late to be sent.
    pub fn expire(id: MessageId, now: Timestamp) -> Result<Self, RecordError> {
        let expire = Self::refuse_waiting(id, Reason::Expired, now)?;
        Ok(Self { validity: Some(("<=", now)), ..expire })
    }

    /// It still waits, and it will not be sent: nobody may claim it any more.
    pub fn refuse_waiting(id: MessageId, reason: Reason, now: Timestamp) -> Result<Self, RecordError> {
        let mut refuse = Self::to(State::NotSent, id, now);
        refuse.from = vec![State::Accepted];
        refuse.set.push(("reason", attribute(reason)?));
        Ok(refuse)
    }

    /// W9: a provider's report, decided on what the message was `seen` to be.
    pub fn report(seen: &Message, report: Report, contradicts: bool, now: Timestamp) -> Result<Self, RecordError> {
        let mut moved = Self::to(report.state(), seen.id, now);
        moved.from = vec![seen.state];
        match report.reason() {
            Some(reason) => moved.set.push(("reason", attribute(reason)?)),
            // The record may have had a reason why it was not sent.
            None => moved.remove = &["reason"],
        }
        if contradicts {
            moved.set.push(("contradicted", AttributeValue::Bool(true)));
        }
        Ok(moved)
    }

    pub fn id(&self) -> MessageId {
        self.id
    }

    fn to(to: State, id: MessageId, now: Timestamp) -> Self {
        let set = vec![("updated_at", millisecond(now))];
        Self { id, to, from: to.sources().to_vec(), held_by: None, validity: None, set, remove: &[] }
    }

    fn held_by(self, batch: BatchId) -> Self {
        Self { held_by: Some(batch), ..self }
    }

    /// The move as a PartiQL statement.
    fn statement(&self, table: &str) -> Result<BatchStatementRequest, RecordError> {
        let mut parameters = vec![attribute(self.to)?];
        let mut sql = format!("UPDATE \"{table}\" SET \"state\"=?");
        for (name, value) in &self.set {
            sql += &format!(" SET \"{name}\"=?");
            parameters.push(value.clone());
        }
        for name in self.remove {
            sql += &format!(" REMOVE \"{name}\"");
        }
        let from = vec!["\"state\"=?"; self.from.len()].join(" OR ");
        sql += &format!(" WHERE \"day_shard\"=? AND \"id\"=? AND ({from})");
        parameters.extend([text(self.id.day_shard()), text(self.id)]);
        for state in &self.from {
            parameters.push(attribute(state)?);
        }
        if let Some(batch) = self.held_by {
            sql += " AND \"batch_id\"=?";
            parameters.push(text(batch));
        }
        if let Some((relation, at)) = self.validity {
            sql += &format!(" AND \"valid_until\"{relation}?");
            parameters.push(millisecond(at));
        }
        BatchStatementRequest::builder()
            .statement(sql)
            .set_parameters(Some(parameters))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|_| RecordError { action: "move a message", cause: "no statement".into() })
    }
}

impl Messages {
    /// Makes the moves, each of another message; the results are in their order.
    ///
    /// A result that is an error is a move that may or may not have been made.
    pub async fn make(&self, moves: &[Move]) -> Vec<Result<Moved, RecordError>> {
        let groups: Vec<_> = moves.chunks(GROUP_MAX).map(|group| self.make_group(group)).collect();
        let results: Vec<Vec<_>> = stream::iter(groups).buffered(GROUPS_AT_ONCE).collect().await;
        results.into_iter().flatten().collect()
    }

    async fn make_group(&self, moves: &[Move]) -> Vec<Result<Moved, RecordError>> {
        let mut results: Vec<_> = moves.iter().map(|_| Err(failed("no answer".to_owned()))).collect();
        let mut open: Vec<usize> = (0..moves.len()).collect();
        for _ in 0..ROUNDS_MAX {
            let answers = match self.execute(open.iter().map(|&n| &moves[n])).await {
                Ok(answers) => answers,
                // The SDK has retried already; what is known of earlier rounds stands.
                Err(_) => break,
            };
            for (&n, answer) in open.iter().zip(answers) {
                results[n] = moved(answer);
            }
            open.retain(|&n| results[n].is_err());
            if open.is_empty() {
                break;
            }
        }
        results
    }

    async fn execute(&self, moves: impl Iterator<Item = &Move>) -> Result<Vec<BatchStatementResponse>, RecordError> {
        let statements: Vec<_> = moves.map(|one| one.statement(&self.table)).collect::<Result<_, _>>()?;
        let asked = statements.len();
        let call = self.client.batch_execute_statement().set_statements(Some(statements));
        let answer = crash::around("move messages", call.send()).await.map_err(unavailable("move messages"))?;
        let answers = answer.responses.unwrap_or_default();
        if answers.len() == asked { Ok(answers) } else { Err(failed("an answer is missing".to_owned())) }
    }
}

fn moved(answer: BatchStatementResponse) -> Result<Moved, RecordError> {
    let Some(error) = answer.error else { return Ok(Moved::Done) };
    match error.code {
        Some(BatchStatementErrorCodeEnum::ConditionalCheckFailed) => {
            let found = error.item.filter(|item| !item.is_empty());
            Ok(Moved::Found(found.map(from_item).transpose()?.map(Box::new)))
        }
        code => Err(failed(code.map_or("unknown".to_owned(), |code| code.as_str().to_owned()))),
    }
}

fn failed(cause: String) -> RecordError {
    RecordError { action: "move a message", cause }
}
