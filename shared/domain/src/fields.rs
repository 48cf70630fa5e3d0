//! The fields of a JSON object that a caller sends.

use serde_json::{Map, Value};

use crate::invalid::Invalid;

/// A request body that is a JSON object.
#[derive(Clone, Copy)]
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Fails where the body is not an object.
    pub fn of(body: &'a Value) -> Result<Self, Invalid> {
        match body {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Invalid::new("body", "", "Must be a JSON object")),
        }
    }

    /// The value of a field; null where the field is absent.
    pub fn get(&self, name: &str) -> &'a Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// Refuses the first field that is not one of `known`; `of` says what the fields describe, e.g.
    /// `a message`.
    ///
    /// An unknown field is refused because it is usually a known one misspelt, and ignoring it
    /// would do something that the caller did not ask for.
    pub fn refuse_unknown(&self, known: &[&str], of: &str) -> Result<(), Invalid> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(Invalid::new(
                unknown,
                "",
                &format!("Is not a field of {of}"),
            )),
            None => Ok(()),
        }
    }
}
