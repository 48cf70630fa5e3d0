//! A provider's invoice, read line by line: JSON lines, or CSV with a header.
//!
//! | field | meaning |
//! |---|---|
//! | `batch_id` | our id of the batch; this or `request_id` has to be there |
//! | `request_id` | the provider's own id of the request; counts where no batch of ours has the `batch_id` |
//! | `at` or `time` | when it was billed, RFC 3339 |
//! | `requests` | how many are billed; 1 if absent |
//! | `amount` | what is billed for them, a decimal number; may be absent |
//!
//! Other columns are ignored. A line that cannot be read is refused by its number and field,
//! because an invoice that is read in part would be found wrong for the wrong reason.

use std::iter::Enumerate;
use std::str;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::csv::cells;
use crate::id::BatchId;
use crate::invalid::Invalid;
use crate::money::Money;

/// The longest id of a request, in characters.
const ID_CHARS_MAX: usize = 200;

const FIELDS: [&str; 6] = ["batch_id", "request_id", "at", "time", "requests", "amount"];

/// How an invoice is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    Csv,
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number from 1, counting the header.
    pub number: u32,
    pub key: Key,
    pub at: Timestamp,
    pub requests: u32,
    pub amount: Option<Money>,
}

/// What a line bills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An id of our form, and the provider's id if the line has that as well.
    Batch(BatchId, Option<String>),
    /// The provider's id; the line has no batch id of our form.
    Request(String),
    /// A batch id that is not of our form, and no other.
    Foreign(String),
}

/// The lines of an invoice, one at a time.
pub struct Lines<'a> {
    lines: Enumerate<str::Lines<'a>>,
    /// The names of the columns, if there is a header.
    columns: Option<Vec<String>>,
}

impl<'a> Lines<'a> {
    /// Fails if a CSV has no header with the necessary columns.
    pub fn read(format: Format, invoice: &'a str) -> Result<Self, Invalid> {
        // Spreadsheets mark a text as UTF-8 by this character.
        let mut lines = invoice
            .strip_prefix('\u{feff}')
            .unwrap_or(invoice)
            .lines()
            .enumerate();
        let columns = match format {
            Format::JsonLines => None,
            Format::Csv => {
                let header = lines.next().map(|(_, header)| header).unwrap_or_default();
                let columns = cells(header).ok_or_else(|| invalid(1, "line", header, UNCLOSED))?;
                let columns: Vec<_> = columns
                    .iter()
                    .map(|name| name.trim().to_ascii_lowercase())
                    .collect();
                let has = |name: &str| columns.iter().any(|column| column == name);
                if !has("batch_id") && !has("request_id") {
                    return Err(invalid(
                        1,
                        "batch_id",
                        "",
                        "The header must name a column batch_id or request_id",
                    ));
                }
                if !has("at") && !has("time") {
                    return Err(invalid(
                        1,
                        "at",
                        "",
                        "The header must name a column at or time",
                    ));
                }
                Some(columns)
            }
        };
        Ok(Self { lines, columns })
    }

    fn line(&self, number: u32, text: &str) -> Result<Line, Invalid> {
        let fields = match &self.columns {
            Some(columns) => row(number, columns, text)?,
            None => match serde_json::from_str(text) {
                Ok(Value::Object(fields)) => fields,
                Ok(_) | Err(_) => {
                    return Err(invalid(number, "line", text, "Must be a JSON object"));
                }
            },
        };
        // An empty cell and a null mean the same as an absent field.
        let field = |name: &str| {
            fields
                .get(name)
                .filter(|value| !value.is_null() && *value != "")
        };
        let refuse = |name: &str, rule: &str| invalid(number, name, &shown(fields.get(name)), rule);

        let (at_name, at) = match (field("at"), field("time")) {
            (None, Some(time)) => ("time", Some(time)),
            (at, _) => ("at", at),
        };
        let at = at
            .and_then(Value::as_str)
            .and_then(|at| at.trim().parse().ok());
        let requests = match field("requests") {
            None => Some(1),
            Some(requests) => shown(Some(requests)).trim().parse().ok(),
        };
        let amount = field("amount")
            .map(|amount| serde_json::from_value(amount.clone()))
            .transpose();
        Ok(Line {
            number,
            key: key(field("batch_id"), field("request_id"))
                .map_err(|(name, rule)| refuse(name, rule))?,
            at: at.ok_or_else(|| refuse(at_name, "Must be an RFC 3339 time"))?,
            requests: requests
                .ok_or_else(|| refuse("requests", "Must be a whole number, 0 or more"))?,
            amount: amount.map_err(|error| refuse("amount", &error.to_string()))?,
        })
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        let (index, text) = self
            .lines
            .by_ref()
            .find(|(_, text)| !text.trim().is_empty())?;
        Some(self.line(u32::try_from(index + 1).unwrap_or(u32::MAX), text))
    }
}

const UNCLOSED: &str = "A quote must be closed on its line, and only a comma may follow it";

/// The cells of a line of CSV by column, of the columns that are read.
fn row(number: u32, columns: &[String], text: &str) -> Result<Map<String, Value>, Invalid> {
    let cells = cells(text).ok_or_else(|| invalid(number, "line", text, UNCLOSED))?;
    if cells.len() != columns.len() {
        let rule = format!(
            "Must have {} cells as the header has, and has {}",
            columns.len(),
            cells.len()
        );
        return Err(invalid(number, "line", text, &rule));
    }
    let read = columns
        .iter()
        .zip(cells)
        .filter(|(name, _)| FIELDS.contains(&name.as_str()));
    Ok(read
        .map(|(name, cell)| (name.clone(), Value::from(cell.trim())))
        .collect())
}

/// What a line bills; the error is a field and its rule.
fn key(
    batch_id: Option<&Value>,
    request_id: Option<&Value>,
) -> Result<Key, (&'static str, &'static str)> {
    const RULE: &str = "Must be a text of at most 200 characters";
    let id = |value: &Value| match value {
        Value::String(text) => {
            Some(text.clone()).filter(|text| text.chars().count() <= ID_CHARS_MAX)
        }
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let batch_id = batch_id
        .map(|batch_id| id(batch_id).ok_or(("batch_id", RULE)))
        .transpose()?;
    let request_id = request_id
        .map(|request_id| id(request_id).ok_or(("request_id", RULE)))
        .transpose()?;
    match (batch_id.as_deref().map(str::parse), request_id, batch_id) {
        (Some(Ok(ours)), request_id, _) => Ok(Key::Batch(ours, request_id)),
        (_, Some(request_id), _) => Ok(Key::Request(request_id)),
        (_, None, Some(foreign)) => Ok(Key::Foreign(foreign)),
        (_, None, None) => Err(("batch_id", "Must be given, or else request_id")),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn invalid(number: u32, field: &str, value: &str, rule: &str) -> Invalid {
    Invalid::new(field, value, &format!("Line {number}: {rule}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57";
    const AT: &str = "2026-11-21T12:00:00Z";

    fn lines(format: Format, text: &str) -> Result<Vec<Line>, Invalid> {
        Lines::read(format, text)?.collect()
    }

    fn refusal(format: Format, text: &str) -> (String, String) {
        let invalid = lines(format, text).unwrap_err();
        (invalid.field, invalid.rule)
    }

    #[test]
    fn both_formats_are_read_alike() {
        let json = format!(
            "{{\"request_id\":\"r1\",\"batch_id\":\"{ID}\",\"at\":\"{AT}\",\"messages\":7,\"requests\":1}}\n\n\
             {{\"request_id\":17,\"time\":\"{AT}\",\"amount\":0.05}}\r\n\
             {{\"batch_id\":\"B-1\",\"at\":\"{AT}\",\"requests\":2,\"amount\":\"0.1\",\"tax\":{{\"a\":[]}}}}"
        );
        let csv = format!(
            "\u{feff}Batch_ID, request_id ,at,time,\"Requests\",amount,note\r\n\
             {ID},r1,{AT},,1,,\"a, b and \"\"c\"\"\"\r\n\
             ,17,,{AT},,0.05,\n\
             B-1,,{AT},,2,\"0.10\",x\n"
        );
        let (json, csv) = (
            lines(Format::JsonLines, &json).unwrap(),
            lines(Format::Csv, &csv).unwrap(),
        );
        let said = |lines: &[Line]| {
            lines
                .iter()
                .map(|line| (line.key.clone(), line.at, line.requests, line.amount))
                .collect::<Vec<_>>()
        };
        assert_eq!(said(&json), said(&csv));
        assert_eq!(
            json[0].key,
            Key::Batch(ID.parse().unwrap(), Some("r1".into()))
        );
        assert_eq!(
            (&json[1].key, json[1].requests),
            (&Key::Request("17".into()), 1)
        );
        assert_eq!(
            (&json[2].key, json[2].amount),
            (&Key::Foreign("B-1".into()), "0.1".parse().ok())
        );
        let numbers = |lines: &[Line]| lines.iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(
            (numbers(&json), numbers(&csv)),
            (vec![1, 3, 4], vec![2, 3, 4])
        );
    }

    #[test]
    fn a_malformed_line_is_refused_by_its_number_and_field() {
        let good = format!("{{\"batch_id\":\"{ID}\",\"at\":\"{AT}\"}}");
        let wrong = [
            ("{", "line"),
            ("[]", "line"),
            (r#"{"batch_id":"x"}"#, "at"),
            (r#"{"batch_id":"x","at":"yesterday"}"#, "at"),
            (r#"{"batch_id":"x","time":7}"#, "time"),
            (r#"{"at":"2026-11-21T12:00:00Z"}"#, "batch_id"),
            (
                r#"{"batch_id":["x"],"at":"2026-11-21T12:00:00Z"}"#,
                "batch_id",
            ),
            (
                r#"{"request_id":true,"at":"2026-11-21T12:00:00Z"}"#,
                "request_id",
            ),
            (
                r#"{"batch_id":"x","at":"2026-11-21T12:00:00Z","requests":-1}"#,
                "requests",
            ),
            (
                r#"{"batch_id":"x","at":"2026-11-21T12:00:00Z","requests":1.5}"#,
                "requests",
            ),
            (
                r#"{"batch_id":"x","at":"2026-11-21T12:00:00Z","amount":"5 EUR"}"#,
                "amount",
            ),
        ];
        for (line, field) in wrong {
            let (named, rule) = refusal(Format::JsonLines, &format!("{good}\n{line}\n"));
            assert_eq!(
                (named.as_str(), rule.starts_with("Line 2: ")),
                (field, true),
                "{line}: {rule}"
            );
        }
        let csv = [
            ("", "batch_id", 1),
            ("batch_id,requests\n", "at", 1),
            ("batch_id,\"at\n", "line", 1),
            ("batch_id,at\nx\n", "line", 2),
            ("batch_id,at\nx,2026-11-21T12:00:00Z\n\"x\"y,z\n", "line", 3),
            (
                "batch_id,at,requests\nx,2026-11-21T12:00:00Z,many",
                "requests",
                2,
            ),
        ];
        for (text, field, number) in csv {
            let (named, rule) = refusal(Format::Csv, text);
            assert_eq!(
                (
                    named.as_str(),
                    rule.starts_with(&format!("Line {number}: "))
                ),
                (field, true),
                "{text}: {rule}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_invoice_or_refused(text in "(.|\n){0,200}") {
            for format in [Format::JsonLines, Format::Csv] {
                let _ = lines(format, &text);
            }
            let _ = lines(Format::Csv, &format!("batch_id,at,amount\n{text}"));
        }
    }
}
