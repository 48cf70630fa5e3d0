//! W5: what an outcome writes into a batch, and under which condition.
//!
//! [`Batches::settle`](crate::batches::Batches::settle) makes the write, for the dispatcher, the
//! sweep, a report or an operator. DynamoDB refuses an update with names or values that it does not
//! use, so each outcome adds its own.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::batch::{Answer, BatchState, Cause, Outcome};

use crate::{RecordError, attribute, number, text};

/// An update that is being built: its assignments, and the names and values that it uses.
struct Settlement {
    update: UpdateItemFluentBuilder,
    assignments: Vec<String>,
}

/// Completes an update that already has `:now` and `#updated_at`.
pub(super) fn settlement(
    update: UpdateItemFluentBuilder,
    provider: &str,
    outcome: &Outcome,
    answer: &Answer,
) -> Result<UpdateItemFluentBuilder, RecordError> {
    let mut settlement = Settlement {
        update,
        assignments: vec!["#updated_at = :now".to_owned()],
    };
    let condition = settlement.outcome(provider, outcome)?;
    if let Some(status) = answer.http_status {
        settlement.assign("http_status", number(status));
    }
    if let Some(error) = &answer.error {
        settlement.assign("last_error", text(error));
    }
    let mut expression = format!("SET {}", settlement.assignments.join(", "));
    if !outcome.stays_open() {
        expression += " REMOVE #open";
        settlement.name("open");
    }
    Ok(settlement
        .update
        .update_expression(expression)
        .condition_expression(condition))
}

impl Settlement {
    /// Assigns the state and what goes with it. Returns the condition.
    fn outcome(&mut self, provider: &str, outcome: &Outcome) -> Result<&'static str, RecordError> {
        match outcome {
            Outcome::Confirmed {
                request_id,
                refused,
            } => {
                self.state(
                    BatchState::Confirmed,
                    &[
                        (":started", BatchState::Started),
                        (":unknown", BatchState::Unknown),
                    ],
                )?;
                if let Some(request_id) = request_id {
                    self.assign("request_id", text(request_id));
                }
                if !refused.is_empty() {
                    self.assign("refused", attribute(refused)?);
                    self.assign("open", text(provider));
                }
                // A report names no request, so it has nothing to add to a batch that is CONFIRMED.
                Ok(match request_id {
                    None => "#state IN (:started, :unknown)",
                    Some(_) => "#state IN (:started, :unknown, :state)",
                })
            }
            // An operator decides about a batch that is UNKNOWN, and not about a request that was
            // begun after the operator looked. Hence the attempts are compared.
            Outcome::Rejected {
                attempts,
                because: Cause::Decision { requeue },
            } => {
                self.state(BatchState::Rejected, &[(":unknown", BatchState::Unknown)])?;
                self.assign("requeue", AttributeValue::Bool(*requeue));
                self.compare("attempts", ":mine", number(attempts));
                Ok("(#state = :unknown AND #attempts = :mine) \
                    OR (#state = :state AND #requeue = :requeue)")
            }
            Outcome::Rejected { attempts, .. } => {
                self.state(
                    BatchState::Rejected,
                    &[
                        (":started", BatchState::Started),
                        (":unknown", BatchState::Unknown),
                    ],
                )?;
                self.compare("attempts", ":mine", number(attempts));
                self.compare("ambiguous", ":false", AttributeValue::Bool(false));
                // A batch that an operator decided about stays open until the decision was applied.
                self.name("requeue");
                Ok("(#state IN (:started, :unknown) \
                    AND #attempts = :mine AND #ambiguous = :false) \
                    OR (#state = :state AND attribute_not_exists(#requeue))")
            }
            Outcome::Unknown => {
                self.state(BatchState::Unknown, &[(":started", BatchState::Started)])?;
                self.assign("ambiguous", AttributeValue::Bool(true));
                Ok("#state IN (:started, :state)")
            }
        }
    }

    /// Assigns the state, and adds the states that the condition compares it with.
    fn state(
        &mut self,
        to: BatchState,
        compared: &[(&str, BatchState)],
    ) -> Result<(), RecordError> {
        self.assign("state", attribute(to)?);
        for (place, state) in compared {
            self.compare("state", place, attribute(state)?);
        }
        Ok(())
    }

    /// Assigns a value, which the condition can use as well.
    fn assign(&mut self, name: &str, value: AttributeValue) {
        self.assignments.push(format!("#{name} = :{name}"));
        self.compare(name, &format!(":{name}"), value);
    }

    /// Adds an attribute's name and a value for the condition.
    fn compare(&mut self, name: &str, place: &str, value: AttributeValue) {
        self.name(name);
        self.update = self
            .update
            .clone()
            .expression_attribute_values(place, value);
    }

    fn name(&mut self, name: &str) {
        self.update = self
            .update
            .clone()
            .expression_attribute_names(format!("#{name}"), name);
    }
}
