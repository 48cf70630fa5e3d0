//! POST /messages/delivery_status/{provider}/{id}: the report of a provider of protocol `callback`.
//!
//! The address is the one that we gave the provider with the message. It names the message that
//! the report is about, and its token proves that the address came from us. Fields of the body
//! other than `status` are ignored.

use domain::delivery_report;
use domain::invalid::Invalid;
use edge::problem::Problem;
use edge::request::json_body;
use edge::webhook::WebhookVerifier;
use lambda_http::{Body, Request, RequestExt, Response};

use crate::App;
use crate::updates::Origin;

/// The size of a body, in bytes. A report takes about 100, and a provider may add fields.
const BODY_BYTES_MAX: usize = 16 * 1024;

impl App {
    pub(crate) async fn post_callback(
        &self,
        request: &Request,
        provider: &str,
        id: &str,
    ) -> Result<Response<Body>, Problem> {
        let Some(WebhookVerifier::Callback(keys)) = self.verifiers.get(provider) else {
            return Err(Problem::NoRoute);
        };
        let parameters = request.query_string_parameters();
        let token = parameters
            .first("token")
            .ok_or(unauthorised("Is missing"))?;
        if !keys.iter().any(|key| key.verifies(provider, id, token)) {
            return Err(unauthorised("Is not the one of this provider and message"));
        }
        let body = json_body(request, BODY_BYTES_MAX)?;
        let Some(status) = body.get("status").filter(|status| status.is_string()) else {
            return Err(Invalid::new("status", "", "Must be a string").into());
        };
        let origin = Origin {
            providers: &[provider],
            batch: None,
        };
        self.answer(origin, &[delivery_report::update(id, status)])
            .await
    }
}

fn unauthorised(detail: &'static str) -> Problem {
    Problem::Unauthorised {
        header: "token",
        detail,
    }
}
