//! Which messages a range read returns: a DynamoDB filter expression on aliased names.
//!
//! `query` builds filters from a caller's parameters; the dispatcher and the sweep ask for what
//! waits. DynamoDB bills the items that it reads, not those that pass the filter.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::id::BatchId;
use domain::recipient::Recipient;
use domain::state::State;

use crate::{RecordError, attribute, text};

/// Conditions that must all hold. An empty filter matches every message.
#[derive(Clone, Default)]
pub struct Filter {
    expressions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    /// A condition allows no value at all, which DynamoDB cannot express.
    matches_nothing: bool,
}

impl Filter {
    /// Messages in one of these states.
    pub fn states(self, states: &[State]) -> Result<Self, RecordError> {
        Ok(self.one_of(
            "state",
            states.iter().map(attribute).collect::<Result<_, _>>()?,
        ))
    }

    /// Messages that this client posted.
    pub fn client(self, name: &str) -> Self {
        self.one_of("client", vec![text(name)])
    }

    /// Messages to this number.
    pub fn recipient(self, recipient: &Recipient) -> Self {
        self.one_of("recipient", vec![text(recipient.as_str())])
    }

    /// Messages with this reference of their caller.
    pub fn reference(self, reference: &str) -> Self {
        self.one_of("reference", vec![text(reference)])
    }

    /// Messages that this batch holds, or that it was the last to hold.
    pub fn batch(self, id: BatchId) -> Self {
        self.one_of("batch_id", vec![text(id)])
    }

    /// No message can match, so nothing needs to be read.
    pub(crate) fn matches_nothing(&self) -> bool {
        self.matches_nothing
    }

    /// Adds the filter to a query.
    pub(crate) fn apply(&self, query: QueryFluentBuilder) -> QueryFluentBuilder {
        if self.expressions.is_empty() {
            return query;
        }
        let named = self.names.iter().fold(query, |query, (alias, name)| {
            query.expression_attribute_names(alias, name)
        });
        let valued = self.values.iter().fold(named, |query, (place, value)| {
            query.expression_attribute_values(place, value.clone())
        });
        valued.filter_expression(self.expressions.join(" AND "))
    }

    fn one_of(mut self, name: &str, values: Vec<AttributeValue>) -> Self {
        self.matches_nothing |= values.is_empty();
        let places: Vec<_> = (0..values.len()).map(|n| format!(":{name}{n}")).collect();
        self.expressions
            .push(format!("#{name} IN ({})", places.join(", ")));
        self.names.insert(format!("#{name}"), name.to_owned());
        self.values.extend(places.into_iter().zip(values));
        self
    }
}
