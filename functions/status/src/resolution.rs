//! POST /batches/{id}/resolution: an operator settles a batch that may or may not have been sent.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::{Value, json};
use shared::batch::{Answer, Batch, BatchState, Outcome};
use shared::clock;
use shared::courier::{confirm_members, disprove_members};
use shared::http::{self, Problem, id_in_path, json_body};
use shared::message::Invalid;
use shared::provider::names;
use shared::view::BatchView;
use tracing::info;

use crate::App;

const BODY_BYTES_MAX: usize = 1024;

/// What the operator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Sent,
    /// Not sent; with `requeue` the messages go out with another batch.
    NotSent {
        requeue: bool,
    },
}

impl App {
    pub(crate) async fn post_resolution(&self, request: &Request, id: &str) -> Result<Response<Body>, Problem> {
        let operator = self.clients.identify_operator(request.headers())?;
        let resolution = parse(&json_body(request, BODY_BYTES_MAX)?)?;
        let Some(id) = id_in_path(id)? else { return Ok(unknown(id)) };
        let parameters = request.query_string_parameters();
        let providers = names(&self.providers, parameters.first("provider"));
        let Some(batch) = self.batches.find(&providers, id).await? else {
            return Ok(unknown(&id.to_string()));
        };
        let batch = match batch.state {
            BatchState::Unknown => self.settle_doubt(&batch, resolution, &operator.name).await?,
            _ => batch,
        };
        if !says(&batch, resolution) {
            return Err(Problem::Conflict("Only a batch whose state is UNKNOWN can be resolved, and only once"));
        }
        info!(event = "resolved", batch_id = %id, operator = operator.name, ?resolution, "resolved");
        self.tell(&batch, resolution).await?;
        Ok(http::json(StatusCode::OK, &BatchView::of(&batch)))
    }

    /// W5: writes the word down, unless the doubt was settled in the meantime; returns the batch as it stands then.
    async fn settle_doubt(&self, batch: &Batch, resolution: Resolution, operator: &str) -> Result<Batch, Problem> {
        // A courier may be asking the provider again, under its key: until its turn is over, nobody knows better.
        if batch.deadline >= clock::now() {
            return Err(Problem::Conflict("A request for this batch may still be under way; try again in a minute"));
        }
        let outcome = match resolution {
            Resolution::Sent => Outcome::Confirmed { request_id: None, refused: Vec::new() },
            Resolution::NotSent { requeue } => Outcome::Disproved { attempts: batch.attempts, requeue },
        };
        let answer = Answer { http_status: None, error: Some(format!("resolved by {operator}")) };
        let settled = self.batches.settle(&batch.provider, batch.id, &outcome, &answer, clock::now()).await?;
        settled.ok_or(Problem::Conflict("The batch is not in the record any more"))
    }

    /// Tells the members. A repeat of the call, or a sweep, tells those that could not be told.
    async fn tell(&self, batch: &Batch, resolution: Resolution) -> Result<(), Problem> {
        match resolution {
            Resolution::Sent => confirm_members(&self.messages, &self.batches, batch).await,
            Resolution::NotSent { requeue } => {
                if !disprove_members(&self.messages, &self.batches, batch, requeue).await {
                    return Err(Problem::Unavailable);
                }
            }
        }
        Ok(())
    }
}

/// The record says of the batch what this operator does. That it was not sent, a courier may have found out itself, or
/// an operator may have said with another wish for the messages.
fn says(batch: &Batch, resolution: Resolution) -> bool {
    match resolution {
        Resolution::Sent => batch.state == BatchState::Confirmed,
        Resolution::NotSent { requeue } => batch.state == BatchState::Rejected && batch.requeue == Some(requeue),
    }
}

fn parse(body: &Value) -> Result<Resolution, Invalid> {
    let Value::Object(fields) = body else { return Err(Invalid::new("body", "", "Must be a JSON object")) };
    if let Some(unknown) = fields.keys().find(|name| !["outcome", "requeue"].contains(&name.as_str())) {
        return Err(Invalid::new(unknown, "", "Is not a field of a resolution"));
    }
    let requeue = match body.get("requeue") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(Invalid::new("requeue", "", "Must be true or false")),
    };
    match (body["outcome"].as_str(), requeue) {
        (Some("SENT"), false) => Ok(Resolution::Sent),
        (Some("SENT"), true) => Err(Invalid::new("requeue", "true", "Must not be true for what was sent")),
        (Some("NOT_SENT"), requeue) => Ok(Resolution::NotSent { requeue }),
        _ => Err(Invalid::new("outcome", "", "Must be SENT or NOT_SENT")),
    }
}

fn unknown(id: &str) -> Response<Body> {
    http::json(StatusCode::NOT_FOUND, &json!({"id": id, "state": "NOT_FOUND"}))
}
