//! W5: what an outcome writes into a batch, and when it may.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{RecordError, attribute, text};
use crate::batch::{Answer, BatchState, Outcome};

/// An update in the making: assignments, and the values that its condition compares with.
struct Settlement {
    update: UpdateItemFluentBuilder,
    assignments: Vec<String>,
}

/// Completes an update that holds `:now` for `#updated_at`.
pub(super) fn settlement(
    update: UpdateItemFluentBuilder,
    provider: &str,
    outcome: &Outcome,
    answer: &Answer,
) -> Result<UpdateItemFluentBuilder, RecordError> {
    let mut settlement = Settlement { update, assignments: vec!["#updated_at = :now".to_owned()] };
    let condition = settlement.outcome(provider, outcome)?;
    if let Some(status) = answer.http_status {
        settlement.assign("http_status", AttributeValue::N(status.to_string()));
    }
    if let Some(error) = &answer.error {
        settlement.assign("last_error", text(error));
    }
    let mut expression = format!("SET {}", settlement.assignments.join(", "));
    match outcome {
        // It stays in the index of open ones: there is something to find out.
        Outcome::Unknown => {}
        // A report may have let the refused members look as if they were sent: somebody has to tell them.
        Outcome::Confirmed { refused, .. } if !refused.is_empty() => {}
        // Its members were told of a doubt: somebody has to tell them the operator's word.
        Outcome::Disproved { .. } => {}
        _ => {
            expression += " REMOVE #open";
            settlement.update = settlement.update.expression_attribute_names("#open", "open");
        }
    }
    Ok(settlement.update.update_expression(expression).condition_expression(condition))
}

impl Settlement {
    /// Assigns the state and what goes with it; returns the condition.
    fn outcome(&mut self, provider: &str, outcome: &Outcome) -> Result<&'static str, RecordError> {
        match outcome {
            Outcome::Confirmed { request_id, refused } => {
                self.state(
                    BatchState::Confirmed,
                    &[(":started", BatchState::Started), (":unknown", BatchState::Unknown)],
                )?;
                if let Some(request_id) = request_id {
                    self.assign("request_id", text(request_id));
                }
                if !refused.is_empty() {
                    self.assign("refused", attribute(refused)?);
                    self.assign("open", text(provider));
                }
                // Who knows no more than that it arrived has nothing to add to a batch that is confirmed.
                Ok(match request_id {
                    None => "#state IN (:started, :unknown)",
                    Some(_) => "#state IN (:started, :unknown, :state)",
                })
            }
            Outcome::Rejected { attempts } => {
                self.state(
                    BatchState::Rejected,
                    &[(":started", BatchState::Started), (":unknown", BatchState::Unknown)],
                )?;
                self.compare("attempts", ":mine", AttributeValue::N(attempts.to_string()));
                self.compare("ambiguous", ":false", AttributeValue::Bool(false));
                // An operator's word stays open until it is told.
                self.name("requeue");
                Ok("(#state IN (:started, :unknown) AND #attempts = :mine AND #ambiguous = :false) \
                    OR (#state = :state AND attribute_not_exists(#requeue))")
            }
            Outcome::Unknown => {
                self.state(BatchState::Unknown, &[(":started", BatchState::Started)])?;
                self.assign("ambiguous", AttributeValue::Bool(true));
                Ok("#state IN (:started, :state)")
            }
            Outcome::Disproved { attempts, requeue } => {
                self.state(BatchState::Rejected, &[(":unknown", BatchState::Unknown)])?;
                self.assign("requeue", AttributeValue::Bool(*requeue));
                // Of a request that was begun after the operator looked, the word says nothing.
                self.compare("attempts", ":mine", AttributeValue::N(attempts.to_string()));
                Ok("(#state = :unknown AND #attempts = :mine) OR (#state = :state AND #requeue = :requeue)")
            }
        }
    }

    fn state(&mut self, to: BatchState, compared: &[(&str, BatchState)]) -> Result<(), RecordError> {
        self.assign("state", attribute(to)?);
        for (place, state) in compared {
            self.compare("state", place, attribute(state)?);
        }
        Ok(())
    }

    fn assign(&mut self, name: &str, value: AttributeValue) {
        self.assignments.push(format!("#{name} = :{name}"));
        self.compare(name, &format!(":{name}"), value);
    }

    /// Makes an attribute and a value known to the condition.
    fn compare(&mut self, name: &str, place: &str, value: AttributeValue) {
        self.name(name);
        self.update = self.update.clone().expression_attribute_values(place, value);
    }

    fn name(&mut self, name: &str) {
        self.update = self.update.clone().expression_attribute_names(format!("#{name}"), name);
    }
}
