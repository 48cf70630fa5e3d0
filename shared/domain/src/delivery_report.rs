//! The reports that providers send, in the three forms that the seeds have: one object, an array of
//! objects, or a map from message id to status. Each update fails alone: one that cannot be read
//! never costs another.

use serde_json::{Map, Value};

use crate::id::{MessageId, NotAnId};
use crate::invalid::Invalid;
use crate::state::{DeliveryReport, Reason, State};

/// Updates in one call: as many as a webhook of 1 MiB can hold in its shortest form.
pub const UPDATES_MAX: usize = 20_000;
/// MessageBird's error code for a number that does not exist.
const UNKNOWN_SUBSCRIBER: &str = "1";

/// One update, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// As the provider wrote it; the answer repeats it.
    pub message_id: String,
    pub read: Result<(MessageId, DeliveryReport), Unreadable>,
}

/// Why an update says nothing about any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not an id that this product can have made.
    UnknownId,
    /// Not a status that a provider can report; seed 1 counts its own ACCEPTED and NOT_FOUND among
    /// these.
    NotAStatus,
    /// Not an object with an id and a status.
    Malformed,
}

impl Update {
    fn malformed(_: Invalid) -> Self {
        Self {
            message_id: String::new(),
            read: Err(Unreadable::Malformed),
        }
    }
}

/// Reads a webhook's body.
pub fn parse(body: &Value) -> Result<Vec<Update>, Invalid> {
    let updates: Vec<Update> = match body {
        Value::Array(entries) => entries
            .iter()
            .map(|entry| of_entry(entry).unwrap_or_else(Update::malformed))
            .collect(),
        Value::Object(fields) if is_entry(fields) => vec![of_entry(body)?],
        Value::Object(map) => map.iter().map(|(id, status)| update(id, status)).collect(),
        _ => {
            return Err(Invalid::new(
                "body",
                "",
                "Must be an update, an array of updates or a map from message id to status",
            ));
        }
    };
    if updates.len() > UPDATES_MAX {
        return Err(Invalid::new(
            "body",
            "",
            &format!("Must hold at most {UPDATES_MAX} updates"),
        ));
    }
    Ok(updates)
}

fn is_entry(fields: &Map<String, Value>) -> bool {
    fields.contains_key("message_id") || fields.contains_key("status")
}

/// One `{message_id, status}`; other fields of the provider are ignored.
fn of_entry(entry: &Value) -> Result<Update, Invalid> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let missing = |name: &str| Invalid::new(name, "", "Must be a string");
    let id = text("message_id").ok_or_else(|| missing("message_id"))?;
    text("status").ok_or_else(|| missing("status"))?;
    Ok(update(id, &entry["status"]))
}

/// One update, from a message's id and status as the provider wrote them.
pub fn update(id: &str, status: &Value) -> Update {
    let read = match (id.parse(), report(status)) {
        (Err(NotAnId::Malformed | NotAnId::Foreign), _) => Err(Unreadable::UnknownId),
        (Ok(_), None) => Err(Unreadable::NotAStatus),
        (Ok(id), Some(report)) => Ok((id, report)),
    };
    Update {
        message_id: id.to_owned(),
        read,
    }
}

/// The statuses of FastSMSing and of seed 3's providers.
fn report(status: &Value) -> Option<DeliveryReport> {
    match status.as_str()?.to_ascii_uppercase().as_str() {
        "CONFIRMED" => Some(DeliveryReport::Confirmed),
        "DELIVERED" => Some(DeliveryReport::Delivered),
        "FAILED" => Some(DeliveryReport::Failed(Reason::Undelivered)),
        "INVALID" => Some(DeliveryReport::Failed(Reason::InvalidRecipient)),
        _ => None,
    }
}

/// The statuses of MessageBird; the error code says why a delivery failed.
pub fn messagebird(status: &str, error_code: Option<&str>) -> Option<DeliveryReport> {
    match status {
        "scheduled" | "sent" | "buffered" => Some(DeliveryReport::Confirmed),
        "delivered" => Some(DeliveryReport::Delivered),
        "expired" | "delivery_failed" if error_code == Some(UNKNOWN_SUBSCRIBER) => {
            Some(DeliveryReport::Failed(Reason::InvalidRecipient))
        }
        "expired" | "delivery_failed" => Some(DeliveryReport::Failed(Reason::Undelivered)),
        _ => None,
    }
}

/// Whether the process that takes a report may apply the outcome of the batch that it settles to
/// the other members.
///
/// While the batch is `attended`, its dispatcher may still wait for the provider's answer, which
/// says which members were refused, and applies the outcome itself. A member that is UNCONFIRMED
/// shows that this dispatcher is done.
pub fn may_apply_outcome(seen: State, attended: bool) -> bool {
    seen == State::Unconfirmed || !attended
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57";

    #[test]
    fn the_three_forms_are_read_alike() {
        let expected = vec![Update {
            message_id: ID.into(),
            read: Ok((ID.parse().unwrap(), DeliveryReport::Delivered)),
        }];
        assert_eq!(
            parse(&json!({"message_id": ID, "status": "delivered"})).unwrap(),
            expected
        );
        assert_eq!(
            parse(&json!([{"message_id": ID, "status": "DELIVERED"}])).unwrap(),
            expected
        );
        assert_eq!(parse(&json!({ID: "DELIVERED"})).unwrap(), expected);
    }

    #[test]
    fn seed_1_accepted_and_not_found_are_no_statuses_of_the_provider() {
        let updates = parse(&json!({ID: "ACCEPTED", "x": "DELIVERED"})).unwrap();
        let read: Vec<_> = updates.into_iter().map(|update| update.read).collect();
        assert_eq!(
            read,
            [Err(Unreadable::NotAStatus), Err(Unreadable::UnknownId)]
        );
    }

    #[test]
    fn messagebird_s_statuses_are_known_and_no_others() {
        for (status, code, report) in [
            ("scheduled", None, Some(DeliveryReport::Confirmed)),
            ("buffered", None, Some(DeliveryReport::Confirmed)),
            ("sent", Some("0"), Some(DeliveryReport::Confirmed)),
            ("delivered", None, Some(DeliveryReport::Delivered)),
            (
                "expired",
                None,
                Some(DeliveryReport::Failed(Reason::Undelivered)),
            ),
            (
                "delivery_failed",
                Some("104"),
                Some(DeliveryReport::Failed(Reason::Undelivered)),
            ),
            (
                "delivery_failed",
                Some("1"),
                Some(DeliveryReport::Failed(Reason::InvalidRecipient)),
            ),
            ("Delivered", None, None),
            ("", None, None),
        ] {
            assert_eq!(messagebird(status, code), report, "{status}");
        }
    }

    #[test]
    fn a_body_of_another_form_is_refused_by_field() {
        assert_eq!(parse(&json!("DELIVERED")).unwrap_err().field, "body");
        assert_eq!(
            parse(&json!({"status": "DELIVERED"})).unwrap_err().field,
            "message_id"
        );
        assert_eq!(
            parse(&json!({"message_id": ID})).unwrap_err().field,
            "status"
        );
    }

    #[test]
    fn an_entry_that_cannot_be_read_does_not_cost_its_neighbours() {
        let updates = parse(&json!([7, {"message_id": ID, "status": "FAILED"}])).unwrap();
        assert_eq!(updates[0].read, Err(Unreadable::Malformed));
        assert_eq!(
            updates[1].read,
            Ok((
                ID.parse().unwrap(),
                DeliveryReport::Failed(Reason::Undelivered)
            ))
        );
    }
}
