//! GET /numbers and /numbers/{recipient}: the numbers that a provider or an operator spoke about.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use serde_json::{Value, json};
use shared::http::{self, Problem, recipient_in_path};
use shared::message::{Invalid, Recipient};
use shared::number::NumberStatus;
use shared::record::numbers::NumberPage;
use shared::view::NumberView;

use crate::paging::{LIMIT_DEFAULT, cursor, limit, once_each, place, word};
use crate::{App, linked};

#[derive(Serialize)]
struct NumbersPage<'a> {
    numbers: Vec<NumberView<'a>>,
    next_cursor: Option<String>,
}

/// A listing of numbers, in their own order.
struct OfNumbers {
    status: NumberStatus,
    limit: usize,
    behind: Option<Recipient>,
}

impl App {
    pub(crate) async fn get_number(&self, request: &Request, segment: &str) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let recipient = recipient_in_path(segment)?;
        Ok(match self.numbers.get(&recipient).await? {
            Some(number) => http::json(StatusCode::OK, &NumberView::of(&number)),
            // Nobody spoke about it: messages are sent to it.
            None => http::json(StatusCode::NOT_FOUND, &json!({"recipient": recipient, "status": "NOT_FOUND"})),
        })
    }

    pub(crate) async fn get_numbers(&self, request: &Request) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let OfNumbers { status, limit, behind } = OfNumbers::parse(parameters.iter())?;
        let NumberPage { numbers, behind } = self.numbers.list(status, behind.as_ref(), limit).await?;

        let next_cursor = behind.map(|behind| cursor(behind.as_str()));
        let page =
            NumbersPage { numbers: numbers.iter().map(NumberView::of).collect(), next_cursor: next_cursor.clone() };
        Ok(linked(http::json(StatusCode::OK, &page), request, next_cursor))
    }
}

impl OfNumbers {
    fn parse<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Invalid> {
        let mut listing = Self { status: NumberStatus::Inactive, limit: LIMIT_DEFAULT, behind: None };
        for (name, value) in once_each(parameters)? {
            let invalid = |rule: &str| Invalid::new(name, value, rule);
            match name {
                "status" => listing.status = word(value).ok_or_else(|| invalid("Must be ACTIVE or INACTIVE"))?,
                "limit" => listing.limit = limit(value)?,
                "cursor" => {
                    let place: String = place(value)?;
                    let behind = Recipient::parse(&Value::from(place));
                    listing.behind = Some(behind.map_err(|_| invalid("Must be a next_cursor of an earlier page"))?);
                }
                _ => return Err(invalid("Is not a parameter of this path")),
            }
        }
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_parameter_is_named() {
        let of_a_message = cursor("0192f5f0-7a4b-7c3d-8e9f-0a1b2c3d4e57");
        let wrong =
            [("limit", "0"), ("cursor", "x"), ("cursor", &*of_a_message), ("status", "DEAD"), ("created_to", "")];
        for (name, value) in wrong {
            assert_eq!(OfNumbers::parse([(name, value)].into_iter()).err().unwrap().field, name, "{value}");
        }
        let right = cursor("+31633450007");
        let listing = OfNumbers::parse([("cursor", &*right), ("status", "ACTIVE")].into_iter()).unwrap();
        assert_eq!(listing.behind.unwrap().as_str(), "+31633450007");
    }
}
