//! POST /messages/delivery_status: reports signed by the rules of Standard Webhooks. The answer to
//! reports of every protocol is here too.

use domain::delivery_report::{self, Update};
use edge::answer::json;
use edge::problem::Problem;
use edge::request::json_body;
use edge::webhook::WebhookVerifier;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use record::clock;
use serde::Serialize;
use tracing::{error, info, warn};

use crate::App;
use crate::update_result::UpdateResult;
use crate::updates::Origin;

/// The size of a body, in bytes: enough for 20,000 updates, which is as many as one call may hold.
const BODY_BYTES_MAX: usize = 1024 * 1024;

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    message_id: &'a str,
    result: UpdateResult,
}

impl App {
    pub(crate) async fn post_delivery_status(
        &self,
        request: &Request,
    ) -> Result<Response<Body>, Problem> {
        let body: &[u8] = request.body();
        if body.len() > BODY_BYTES_MAX {
            return Err(Problem::TooLarge {
                limit_bytes: BODY_BYTES_MAX,
            });
        }
        let now = clock::now();
        let by = WebhookVerifier::verify_any(&self.verifiers, request.headers(), body, now)?;
        let origin = Origin {
            providers: &by,
            batch: None,
        };
        let updates = delivery_report::parse(&json_body(request, BODY_BYTES_MAX)?)?;
        self.answer(origin, &updates).await
    }

    /// Records the updates of a call, and answers what became of each. Used for every protocol.
    pub(crate) async fn answer(
        &self,
        origin: Origin<'_>,
        updates: &[Update],
    ) -> Result<Response<Body>, Problem> {
        let results = self.record_updates(origin, updates).await?;
        for (update, result) in updates.iter().zip(&results) {
            log(update, *result);
        }
        let recorded = results
            .iter()
            .filter(|one| **one == UpdateResult::Recorded)
            .count();
        info!(
            event = "reported",
            updates = updates.len(),
            recorded,
            "delivery reports processed"
        );
        let entries = updates.iter().zip(results);
        let results = entries.map(|(update, result)| Entry {
            message_id: &update.message_id,
            result,
        });
        Ok(json(
            StatusCode::OK,
            &Results {
                results: results.collect(),
            },
        ))
    }
}

fn log(update: &Update, result: UpdateResult) {
    match result {
        UpdateResult::Recorded | UpdateResult::Repeated | UpdateResult::Stale => {}
        UpdateResult::Contradicted => error!(
            message_id = update.message_id,
            "a provider reports on a message recorded as not sent; the report is recorded"
        ),
        // Only an id that we made is logged. Any other text may hold a phone number.
        UpdateResult::UnknownId | UpdateResult::NotAStatus | UpdateResult::Malformed => {
            let message_id = update.read.as_ref().ok().map(|(id, _)| id.to_string());
            warn!(
                message_id,
                cause = ?result,
                "an update could not be recorded; the others are not affected"
            );
        }
    }
}
