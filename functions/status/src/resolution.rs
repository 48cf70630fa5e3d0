//! POST /batches/{id}/resolution: an operator settles a batch in doubt, i.e. one that may or may
//! not have been sent (W5), and the outcome is applied to its members (W6).

use dispatcher::apply_to_all;
use domain::batch::{Answer, Batch, BatchState, Cause, Outcome};
use domain::fields::Fields;
use domain::invalid::Invalid;
use edge::answer::{self, not_found};
use edge::problem::Problem;
use edge::request::{id_in_path, json_body};
use edge::view::BatchView;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use record::clock;
use serde_json::Value;
use tracing::info;

use crate::App;

/// The size of a body, in bytes. It holds two short fields.
const BODY_BYTES_MAX: usize = 1024;

/// The operator's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Sent,
    /// The batch was not sent. With `requeue` its messages go out with another batch, and
    /// otherwise they end as NOT_SENT.
    NotSent {
        requeue: bool,
    },
}

impl App {
    pub(crate) async fn post_resolution(
        &self,
        request: &Request,
        id: &str,
    ) -> Result<Response<Body>, Problem> {
        let operator = self.clients.identify_operator(request.headers())?;
        let resolution = parse(&json_body(request, BODY_BYTES_MAX)?)?;
        let Some(id) = id_in_path(id)? else {
            return Ok(unknown(id));
        };
        let parameters = request.query_string_parameters();
        let providers = self.providers.names(parameters.first("provider"));
        let Some(batch) = self.batches.find(&providers, id).await? else {
            return Ok(unknown(&id.to_string()));
        };
        let batch = match batch.state {
            BatchState::Unknown => {
                self.settle_doubt(&batch, resolution, &operator.name)
                    .await?
            }
            _ => batch,
        };
        if !agrees(&batch, resolution) {
            return Err(Problem::Conflict(
                "Only a batch whose state is UNKNOWN can be resolved, and only once",
            ));
        }
        info!(
            event = "resolved",
            batch_id = %id,
            operator = operator.name,
            ?resolution,
            "an operator resolved a batch in doubt"
        );
        self.apply(&batch, resolution).await?;
        Ok(answer::json(StatusCode::OK, &BatchView::of(&batch)))
    }

    /// W5: records the decision, unless the batch was settled in the meantime. Returns
    /// the batch as it is afterwards.
    async fn settle_doubt(
        &self,
        batch: &Batch,
        resolution: Resolution,
        operator: &str,
    ) -> Result<Batch, Problem> {
        // A dispatcher may be sending the batch again under its idempotency key. Until its deadline
        // has passed, the outcome is still open.
        if batch.deadline >= clock::now() {
            return Err(Problem::Conflict(
                "A request for this batch may still be under way; try again in a minute",
            ));
        }
        let outcome = match resolution {
            Resolution::Sent => Outcome::Confirmed {
                request_id: None,
                refused: Vec::new(),
            },
            Resolution::NotSent { requeue } => Outcome::Rejected {
                attempts: batch.attempts,
                because: Cause::Decision { requeue },
            },
        };
        let answer = Answer {
            http_status: None,
            error: Some(format!("resolved by {operator}")),
        };
        let settled = self
            .batches
            .settle((&batch.provider, batch.id), &outcome, &answer, clock::now())
            .await?;
        settled.ok_or(Problem::Conflict("The batch is not in the record any more"))
    }

    /// W6. The next sweep, or a repeat of the call, reaches members that cannot be written now.
    async fn apply(&self, batch: &Batch, resolution: Resolution) -> Result<(), Problem> {
        let applied = apply_to_all(&self.messages, &self.batches, batch).await;
        match resolution {
            Resolution::NotSent { .. } if !applied => Err(Problem::Unavailable),
            Resolution::NotSent { .. } | Resolution::Sent => Ok(()),
        }
    }
}

/// The record agrees with the operator. A rejected batch agrees only if an operator decided
/// so, with the same `requeue`: its dispatcher may have found out the same, but did
/// something else with the messages.
fn agrees(batch: &Batch, resolution: Resolution) -> bool {
    match resolution {
        Resolution::Sent => batch.state == BatchState::Confirmed,
        Resolution::NotSent { requeue } => {
            batch.state == BatchState::Rejected && batch.requeue == Some(requeue)
        }
    }
}

fn parse(body: &Value) -> Result<Resolution, Invalid> {
    let fields = Fields::of(body)?;
    fields.refuse_unknown(&["outcome", "requeue"], "a resolution")?;
    let requeue = match fields.get("requeue") {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        _ => return Err(Invalid::new("requeue", "", "Must be true or false")),
    };
    match (fields.get("outcome").as_str(), requeue) {
        (Some("SENT"), false) => Ok(Resolution::Sent),
        (Some("SENT"), true) => Err(Invalid::new(
            "requeue",
            "true",
            "Must not be true for what was sent",
        )),
        (Some("NOT_SENT"), requeue) => Ok(Resolution::NotSent { requeue }),
        _ => Err(Invalid::new("outcome", "", "Must be SENT or NOT_SENT")),
    }
}

fn unknown(id: &str) -> Response<Body> {
    not_found(("id", id), "state")
}
