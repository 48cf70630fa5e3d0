//! Transitions of messages from state to state: conditional PartiQL updates, in groups of 25.
//!
//! A [`Transition`] names the state that a message goes to and, where it matters, the batch that
//! must hold it. The states that it may come from are [`State::sources`], nowhere else, so that
//! code and condition cannot disagree. Each statement of a group succeeds or fails by itself. The
//! dispatcher and the sweep write W2, W6, W8 and W11; `status` writes W6, W9 and cancellations.

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, BatchStatementResponse,
    ReturnValuesOnConditionCheckFailure,
};
use domain::id::{BatchId, MessageId};
use domain::member::MemberOutcome;
use domain::message::Message;
use domain::state::{DeliveryReport, Reason, State};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::messages::Messages;
use crate::{RecordError, attribute, crash, from_item, millisecond, number, text, unavailable};

/// Statements in one BatchExecuteStatement, by DynamoDB's limit.
const GROUP_MAX: usize = 25;
/// Groups written at once: 200 messages, which is more than most batches have.
const GROUPS_AT_ONCE: usize = 8;
/// Attempts at statements that DynamoDB itself fails, e.g. by throttling. The SDK does not repeat
/// these, because the call as a whole succeeded.
const ATTEMPTS_MAX: usize = 3;

/// A write that changes one message's state.
#[derive(Clone, Debug)]
pub struct Transition {
    id: MessageId,
    to: State,
    from: Vec<State>,
    /// The batch that must hold the message.
    held_by: Option<BatchId>,
    /// The relation, `>` or `<=`, that the message's `valid_until` must have to a moment.
    validity: Option<(&'static str, Timestamp)>,
    set: Vec<(&'static str, AttributeValue)>,
    remove: &'static [&'static str],
}

/// What a transition did.
#[derive(Debug)]
pub enum Applied {
    Done,
    /// The condition did not hold for this message. `None` if there is no such message.
    Found(Option<Box<Message>>),
}

impl Transition {
    /// W2: claims the message for `batch`, while it is valid, and counts one more try.
    pub fn claim(message: &Message, batch: BatchId, provider: &str, now: Timestamp) -> Self {
        let mut claim = Self::to(State::Sending, message.id, now);
        claim.set.extend([
            ("batch_id", text(batch)),
            ("provider", text(provider)),
            ("tries", number(message.tries + 1)),
        ]);
        claim.validity = Some((">", now));
        claim
    }

    /// W6 and W8: applies an outcome to a member of `batch`, while the batch holds it.
    pub fn member(
        id: MessageId,
        batch: BatchId,
        outcome: MemberOutcome,
        now: Timestamp,
    ) -> Result<Self, RecordError> {
        let held = |to| Self {
            held_by: Some(batch),
            ..Self::to(to, id, now)
        };
        let released = || Self {
            remove: &["batch_id", "provider"],
            ..held(State::Accepted)
        };
        let not_sent = |reason| Ok(held(State::NotSent).set("reason", attribute(reason)?));
        Ok(match outcome {
            MemberOutcome::Confirmed => held(State::Confirmed),
            MemberOutcome::Unconfirmed => held(State::Unconfirmed),
            MemberOutcome::Released => released(),
            MemberOutcome::ReleasedAfterError { errors } => {
                released().set("errors", number(errors))
            }
            MemberOutcome::ReleasedApart { batch_max } => {
                released().set("batch_max", number(batch_max))
            }
            MemberOutcome::Requeued => released().also_from(State::Unconfirmed),
            MemberOutcome::NotSent(reason) => not_sent(reason)?,
            MemberOutcome::RefusedAlone => not_sent(Reason::Rejected)?.also_from(State::Confirmed),
        })
    }

    /// W11: ends a waiting message whose validity has passed.
    pub fn expire(id: MessageId, now: Timestamp) -> Result<Self, RecordError> {
        let expire = Self::refuse_waiting(id, Reason::Expired, now)?;
        Ok(Self {
            validity: Some(("<=", now)),
            ..expire
        })
    }

    /// Ends a waiting message for another reason: it was cancelled, or its recipient became
    /// inactive. No batch can claim it any more.
    pub fn refuse_waiting(
        id: MessageId,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Self, RecordError> {
        let mut refuse = Self::to(State::NotSent, id, now);
        refuse.from = vec![State::Accepted];
        refuse.set.push(("reason", attribute(reason)?));
        Ok(refuse)
    }

    /// W9: records a provider's report. It was decided on the message as `seen`, so the
    /// state must still be that. `contradicts` marks the message for good, because the
    /// record had said that nothing was sent.
    pub fn report(
        seen: &Message,
        report: DeliveryReport,
        contradicts: bool,
        now: Timestamp,
    ) -> Result<Self, RecordError> {
        let mut reported = Self::to(report.state(), seen.id, now);
        reported.from = vec![seen.state];
        match report.reason() {
            Some(reason) => reported.set.push(("reason", attribute(reason)?)),
            // The message may have had a reason why it was not sent.
            None => reported.remove = &["reason"],
        }
        if contradicts {
            reported
                .set
                .push(("contradicted", AttributeValue::Bool(true)));
        }
        Ok(reported)
    }

    pub fn id(&self) -> MessageId {
        self.id
    }

    fn to(to: State, id: MessageId, now: Timestamp) -> Self {
        let set = vec![("updated_at", millisecond(now))];
        Self {
            id,
            to,
            from: to.sources().to_vec(),
            held_by: None,
            validity: None,
            set,
            remove: &[],
        }
    }

    fn set(mut self, name: &'static str, value: AttributeValue) -> Self {
        self.set.push((name, value));
        self
    }

    fn also_from(mut self, state: State) -> Self {
        self.from.push(state);
        self
    }

    /// Writes the transition as a PartiQL statement.
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
            .map_err(|_| RecordError {
                action: "apply a transition",
                cause: "no statement".into(),
            })
    }
}

impl Messages {
    /// Applies transitions, each of a different message. The results are in their order.
    ///
    /// An error means that the transition may or may not have been applied.
    pub async fn apply(&self, transitions: &[Transition]) -> Vec<Result<Applied, RecordError>> {
        let groups: Vec<_> = transitions
            .chunks(GROUP_MAX)
            .map(|group| self.apply_group(group))
            .collect();
        let results: Vec<Vec<_>> = stream::iter(groups)
            .buffered(GROUPS_AT_ONCE)
            .collect()
            .await;
        results.into_iter().flatten().collect()
    }

    async fn apply_group(&self, transitions: &[Transition]) -> Vec<Result<Applied, RecordError>> {
        let mut results: Vec<_> = transitions
            .iter()
            .map(|_| Err(failed("no answer".to_owned())))
            .collect();
        let mut open: Vec<usize> = (0..transitions.len()).collect();
        for _ in 0..ATTEMPTS_MAX {
            let answers = match self.execute(open.iter().map(|&n| &transitions[n])).await {
                Ok(answers) => answers,
                // The SDK has already retried. The results of earlier attempts stand.
                Err(_) => break,
            };
            for (&n, answer) in open.iter().zip(answers) {
                results[n] = applied(answer);
            }
            open.retain(|&n| results[n].is_err());
            if open.is_empty() {
                break;
            }
        }
        results
    }

    async fn execute(
        &self,
        transitions: impl Iterator<Item = &Transition>,
    ) -> Result<Vec<BatchStatementResponse>, RecordError> {
        let statements: Vec<_> = transitions
            .map(|one| one.statement(&self.table))
            .collect::<Result<_, _>>()?;
        let asked = statements.len();
        let call = self
            .client
            .batch_execute_statement()
            .set_statements(Some(statements));
        let answer = crash::around("apply transitions", call.send())
            .await
            .map_err(unavailable("apply transitions"))?;
        let answers = answer.responses.unwrap_or_default();
        if answers.len() == asked {
            Ok(answers)
        } else {
            Err(failed("an answer is missing".to_owned()))
        }
    }
}

fn applied(answer: BatchStatementResponse) -> Result<Applied, RecordError> {
    let Some(error) = answer.error else {
        return Ok(Applied::Done);
    };
    match error.code {
        Some(BatchStatementErrorCodeEnum::ConditionalCheckFailed) => {
            let found = error.item.filter(|item| !item.is_empty());
            Ok(Applied::Found(
                found.map(from_item).transpose()?.map(Box::new),
            ))
        }
        code => {
            Err(failed(code.map_or("unknown".to_owned(), |code| {
                code.as_str().to_owned()
            })))
        }
    }
}

fn failed(cause: String) -> RecordError {
    RecordError {
        action: "apply a transition",
        cause,
    }
}
