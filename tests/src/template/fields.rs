//! Reads the template name by name. Every error has its path, and no name is left over.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// A value of the template and its path, such as `Resources.Send.Properties.Timeout`.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) value: Value,
}

impl Node {
    pub(super) fn new(path: impl Into<String>, value: Value) -> Node {
        Node {
            path: path.into(),
            value,
        }
    }

    pub(super) fn fields(self) -> Result<Fields> {
        match self.value {
            Value::Object(rest) => Ok(Fields {
                path: self.path,
                rest,
            }),
            _ => bail!("{}: must be a map", self.path),
        }
    }

    /// The entries of a map whose names the template chooses.
    pub(super) fn entries(self) -> Result<Vec<(String, Node)>> {
        let Fields { path, rest } = self.fields()?;
        Ok(rest
            .into_iter()
            .map(|(name, value)| (name.clone(), Node::new(join(&path, &name), value)))
            .collect())
    }

    pub(super) fn items(self) -> Result<Vec<Node>> {
        let Value::Array(items) = self.value else {
            bail!("{}: must be a list", self.path)
        };
        let item = |(at, value)| Node::new(format!("{}[{at}]", self.path), value);
        Ok(items.into_iter().enumerate().map(item).collect())
    }

    /// A string. As in CloudFormation, any scalar can be one.
    pub(super) fn text(self) -> Result<String> {
        match self.value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            _ => bail!("{}: must be a string", self.path),
        }
    }

    /// A whole number from `least` to `most`. A parameter gives it as a string.
    pub(super) fn number(self, least: u64, most: u64) -> Result<u64> {
        let path = self.path.clone();
        let number: u64 = self
            .text()?
            .parse()
            .with_context(|| format!("{path}: must be a whole number"))?;
        if !(least..=most).contains(&number) {
            bail!("{path}: must be between {least} and {most}, not {number}");
        }
        Ok(number)
    }

    pub(super) fn flag(self) -> Result<bool> {
        let path = self.path.clone();
        self.text()?
            .parse()
            .with_context(|| format!("{path}: must be true or false"))
    }

    /// Checks a property of which the local stack supports this one value.
    pub(super) fn must_be(self, only: &str) -> Result<()> {
        let path = self.path.clone();
        let text = self.text()?;
        if text != only {
            bail!("{path}: {text} not understood, only {only}");
        }
        Ok(())
    }
}

/// A map that is read name by name. [`Fields::finish`] fails with the path of a name that was not
/// read.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) path: String,
    rest: Map<String, Value>,
}

impl Fields {
    pub(super) fn take(&mut self, name: &str) -> Option<Node> {
        self.rest
            .remove(name)
            .map(|value| Node::new(join(&self.path, name), value))
    }

    pub(super) fn need(&mut self, name: &str) -> Result<Node> {
        self.take(name)
            .with_context(|| format!("{}: missing", join(&self.path, name)))
    }

    /// Drops names that mean nothing on this machine.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.rest.retain(|name, _| !names.contains(&name.as_str()));
    }

    pub(super) fn finish(self) -> Result<()> {
        match self.rest.keys().next() {
            Some(name) => bail!("{}: not understood", join(&self.path, name)),
            None => Ok(()),
        }
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
