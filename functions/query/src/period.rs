//! The parameters of GET /statistics and POST /reconciliations: a period, for one provider or all.

use domain::invalid::Invalid;
use edge::problem::Problem;
use jiff::{SignedDuration, Timestamp};
use lambda_http::{Request, RequestExt};
use record::clock;

use crate::paging::{once_each, time};

/// The longest period, in days: a month, which is what an invoice covers.
const DAYS_MAX: i64 = 31;
/// How long before its deadline a call stops reading: the time for the last read with all
/// its retries, and for the answer.
const RESERVE: SignedDuration = SignedDuration::from_secs(7);

/// The period starts at `from`, and ends just before `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeriodQuery {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) provider: Option<String>,
}

impl PeriodQuery {
    /// Parses the parameters. `default` is the end of a period without `to`, and the length of one
    /// without `from`; without a default, both are required.
    pub(crate) fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
        default: Option<(Timestamp, SignedDuration)>,
    ) -> Result<Self, Invalid> {
        let (mut from, mut to, mut provider) = (None, None, None);
        for (name, value) in once_each(parameters)? {
            let invalid = |rule: &str| Invalid::new(name, value, rule);
            let moment = || time(value).ok_or_else(|| invalid("Must be an RFC 3339 time"));
            match name {
                "from" => from = Some(moment()?),
                "to" => to = Some(moment()?),
                "provider" if value.is_empty() || value.contains('#') => {
                    return Err(invalid("Must be the name of a provider"));
                }
                "provider" => provider = Some(value.to_owned()),
                _ => return Err(invalid("Is not a parameter of this path")),
            }
        }
        let missing = |name: &str| Invalid::new(name, "", "Must be an RFC 3339 time");
        let to = to
            .or(default.map(|(now, _)| now))
            .ok_or_else(|| missing("to"))?;
        let before = |length| to.checked_sub(length).unwrap_or(Timestamp::MIN);
        let from = from
            .or(default.map(|(_, length)| before(length)))
            .ok_or_else(|| missing("from"))?;
        let refused = |rule: &str| Err(Invalid::new("from", &from.to_string(), rule));
        if from >= to {
            return refused("Must be before 'to'");
        }
        if to.duration_since(from) > SignedDuration::from_hours(24 * DAYS_MAX) {
            return refused(&format!("Must be at most {DAYS_MAX} days before 'to'"));
        }
        Ok(Self { from, to, provider })
    }

    /// The problem that a period holds more than the `read` batches that there was time for. An
    /// answer about a part of the period would look like one about all of it.
    pub(crate) fn too_long(&self, read: usize) -> Problem {
        let rule = format!(
            "The period holds more batches than one call can read ({read} until time was up): \
            ask for parts of it"
        );
        Invalid::new("from", &self.from.to_string(), &rule).into()
    }
}

/// When a call must stop reading.
pub(crate) fn until(request: &Request) -> Timestamp {
    let deadline = request
        .lambda_context_ref()
        .and_then(|context| i64::try_from(context.deadline).ok());
    let deadline = deadline.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    deadline
        .and_then(|deadline| deadline.checked_sub(RESERVE).ok())
        .unwrap_or_else(clock::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &[(&str, &str)]) -> Result<PeriodQuery, String> {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let default = Some((now, SignedDuration::from_hours(24)));
        PeriodQuery::parse(query.iter().copied(), default).map_err(|invalid| invalid.field)
    }

    #[test]
    fn a_period_is_the_last_day_or_what_is_asked_for() {
        let day = parse(&[]).unwrap();
        assert_eq!(
            (day.from.to_string(), day.to.to_string()),
            ("2026-11-20T12:00:00Z".into(), "2026-11-21T12:00:00Z".into())
        );
        let hour = parse(&[
            ("to", "2026-11-01T01:00:00 01:00"),
            ("from", "2026-10-31T23:00:00Z"),
        ])
        .unwrap();
        assert_eq!(
            hour.to.duration_since(hour.from),
            SignedDuration::from_hours(1)
        );
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let wrong: [(&[(&str, &str)], &str); 8] = [
            (&[("from", "yesterday")], "from"),
            (&[("to", "")], "to"),
            (&[("provider", "")], "provider"),
            (&[("provider", "a#b")], "provider"),
            (&[("limit", "5")], "limit"),
            (&[("from", "2026-11-21T12:00:00Z")], "from"),
            (&[("from", "2026-10-21T11:59:59Z")], "from"),
            (
                &[
                    ("to", "2026-11-20T00:00:00Z"),
                    ("to", "2026-11-20T00:00:00Z"),
                ],
                "to",
            ),
        ];
        for (query, field) in wrong {
            assert_eq!(parse(query).unwrap_err(), field, "{query:?}");
        }
        assert!(
            parse(&[("from", "2026-10-21T12:00:00Z")]).is_ok(),
            "31 days"
        );
        assert!(
            parse(&[("to", "-009999-01-02T01:59:59Z")]).is_err(),
            "before the beginning of time"
        );
        let required = PeriodQuery::parse([("from", "2026-11-21T12:00:00Z")].into_iter(), None);
        assert_eq!(required.unwrap_err().field, "to");
    }
}
