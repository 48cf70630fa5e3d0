//! POST /messages/delivery_status/{provider}/{id}: the report of a provider that calls back.
//!
//! The address is the one that we gave it with the message: it says which message this is about, and proves that
//! the provider was told so by us. What else is in the body than the status is the provider's own affair.

use lambda_http::{Body, Request, RequestExt, Response};
use shared::http::{Problem, json_body};
use shared::message::Invalid;
use shared::report;
use shared::webhook::Reporter;

use crate::{App, Origin};

const BODY_BYTES_MAX: usize = 16 * 1024;

impl App {
    pub(crate) async fn post_callback(
        &self,
        request: &Request,
        provider: &str,
        id: &str,
    ) -> Result<Response<Body>, Problem> {
        let Some(Reporter::Callback(keys)) = self.reporters.get(provider) else { return Err(Problem::NoRoute) };
        let parameters = request.query_string_parameters();
        let proof = parameters.first("proof").ok_or(unauthorised("Is missing"))?;
        if !keys.iter().any(|key| key.proves(provider, id, proof)) {
            return Err(unauthorised("Is not the one of this provider and message"));
        }
        let body = json_body(request, BODY_BYTES_MAX)?;
        let Some(status) = body.get("status").filter(|status| status.is_string()) else {
            return Err(Invalid::new("status", "", "Must be a string").into());
        };
        let origin = Origin { providers: &[provider], batch: None };
        self.answer(origin, &[report::update(id, status)]).await
    }
}

fn unauthorised(detail: &'static str) -> Problem {
    Problem::Unauthorised { header: "proof", detail }
}
