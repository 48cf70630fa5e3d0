//! GET /numbers and /numbers/{recipient}: the numbers that a provider reported or an
//! operator decided about, for operators.

use domain::invalid::Invalid;
use domain::number::NumberStatus;
use domain::recipient::Recipient;
use edge::answer::{self, not_found};
use edge::problem::Problem;
use edge::request::recipient_in_path;
use edge::view::NumberView;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use record::numbers::NumberPage;
use serde::Serialize;
use serde_json::Value;

use crate::App;
use crate::paging::{LIMIT_DEFAULT, answer_page, cursor, limit, once_each, parse_enum, place};

#[derive(Serialize)]
struct NumbersPage<'a> {
    numbers: Vec<NumberView<'a>>,
    next_cursor: Option<String>,
}

/// The parameters of a listing of numbers, which is in order of the numbers.
struct NumberQuery {
    status: NumberStatus,
    limit: usize,
    after: Option<Recipient>,
}

impl App {
    pub(crate) async fn get_number(
        &self,
        request: &Request,
        segment: &str,
    ) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let recipient = recipient_in_path(segment)?;
        Ok(match self.numbers.get(&recipient).await? {
            Some(number) => answer::json(StatusCode::OK, &NumberView::of(&number)),
            // Nothing is recorded about the number, so messages are sent to it.
            None => not_found(("recipient", recipient.as_str()), "status"),
        })
    }

    pub(crate) async fn get_numbers(&self, request: &Request) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let NumberQuery {
            status,
            limit,
            after,
        } = NumberQuery::parse(parameters.iter())?;
        let NumberPage { numbers, after } =
            self.numbers.list(status, after.as_ref(), limit).await?;

        let page = NumbersPage {
            numbers: numbers.iter().map(NumberView::of).collect(),
            next_cursor: after.map(|after| cursor(after.as_str())),
        };
        Ok(answer_page(request, &page, page.next_cursor.as_deref()))
    }
}

impl NumberQuery {
    fn parse<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Invalid> {
        let mut query = Self {
            status: NumberStatus::Inactive,
            limit: LIMIT_DEFAULT,
            after: None,
        };
        for (name, value) in once_each(parameters)? {
            let invalid = |rule: &str| Invalid::new(name, value, rule);
            match name {
                "status" => {
                    query.status =
                        parse_enum(value).ok_or_else(|| invalid("Must be ACTIVE or INACTIVE"))?
                }
                "limit" => query.limit = limit(value)?,
                "cursor" => {
                    let place: String = place(value)?;
                    let after = Recipient::parse(&Value::from(place));
                    query.after = Some(
                        after.map_err(|_| invalid("Must be a next_cursor of an earlier page"))?,
                    );
                }
                _ => return Err(invalid("Is not a parameter of this path")),
            }
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_parameter_is_named() {
        let of_a_message = cursor("0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57");
        let wrong = [
            ("limit", "0"),
            ("cursor", "x"),
            ("cursor", &*of_a_message),
            ("status", "DEAD"),
            ("created_to", ""),
        ];
        for (name, value) in wrong {
            assert_eq!(
                NumberQuery::parse([(name, value)].into_iter())
                    .err()
                    .unwrap()
                    .field,
                name,
                "{value}"
            );
        }
        let right = cursor("+31633450007");
        let listing =
            NumberQuery::parse([("cursor", &*right), ("status", "ACTIVE")].into_iter()).unwrap();
        assert_eq!(listing.after.unwrap().as_str(), "+31633450007");
    }
}
