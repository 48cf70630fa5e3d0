//! GET /batches/{id} and GET /batches: the requests made to providers, for operators.

use domain::batch::BatchState;
use domain::id::BatchKind;
use domain::invalid::Invalid;
use edge::answer::{self, not_found};
use edge::problem::Problem;
use edge::request::id_in_path;
use edge::view::BatchView;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use record::batch_page::BatchPage;
use record::clock;
use serde::Serialize;

use crate::App;
use crate::paging::{Paging, answer_page, cursor, once_each, parse_enum};

#[derive(Serialize)]
struct BatchesPage<'a> {
    batches: Vec<BatchView<'a>>,
    next_cursor: Option<String>,
}

/// The parameters of a listing of batches.
struct BatchQuery {
    paging: Paging<BatchKind>,
    state: Option<BatchState>,
    /// Only this provider's batches. It may be one that is no longer configured.
    provider: Option<String>,
}

impl App {
    pub(crate) async fn get_batch(
        &self,
        request: &Request,
        id: &str,
    ) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let found = match id_in_path(id)? {
            Some(id) => {
                self.batches
                    .find(&self.providers.names(parameters.first("provider")), id)
                    .await?
            }
            None => None,
        };
        match found {
            Some(batch) => Ok(answer::json(StatusCode::OK, &BatchView::of(&batch))),
            None => Ok(not_found(("id", id), "state")),
        }
    }

    pub(crate) async fn get_batches(&self, request: &Request) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let BatchQuery {
            paging,
            state,
            provider,
        } = BatchQuery::parse(parameters.iter())?;
        let providers = self.providers.names(provider.as_deref());
        let ids = paging.bounds(self.since, clock::now());
        let BatchPage { batches, after } = self
            .batches
            .list_all(&providers, ids, state, paging.limit)
            .await?;

        let page = BatchesPage {
            batches: batches.iter().map(BatchView::of).collect(),
            next_cursor: after.map(cursor),
        };
        Ok(answer_page(request, &page, page.next_cursor.as_deref()))
    }
}

impl BatchQuery {
    fn parse<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Invalid> {
        let mut query = Self {
            paging: Paging::new(),
            state: None,
            provider: None,
        };
        for (name, value) in once_each(parameters)? {
            match name {
                "state" => {
                    let rule = "Must be STARTED, CONFIRMED, REJECTED, UNKNOWN or ABANDONED";
                    query.state =
                        Some(parse_enum(value).ok_or_else(|| Invalid::new(name, value, rule))?);
                }
                "provider" => query.provider = Some(value.to_owned()),
                _ => query.paging.set(name, value)?,
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
        for (name, value) in [("state", "SENT"), ("limit", "0"), ("status", "FAILED")] {
            let parsed = BatchQuery::parse([(name, value)].into_iter());
            assert_eq!(parsed.err().unwrap().field, name, "{value}");
        }
    }
}
