//! POST /batches/{id}/resolution: an operator settles a batch that may or may not have been sent.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::{Value, json};
use shared::batch::{Answer, Batch, BatchState, Outcome};
use shared::clock;
use shared::courier::confirm_members;
use shared::http::{self, Problem, json_body};
use shared::id::{BatchId, NotAnId};
use shared::message::Invalid;
use shared::record::moves::Move;
use shared::state::Reason;
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
        let id = match id.parse::<BatchId>() {
            Ok(id) => id,
            Err(NotAnId::Foreign) => return Ok(unknown(id)),
            Err(error @ NotAnId::Malformed) => return Err(Invalid::new("id", id, &error.to_string()).into()),
        };
        let parameters = request.query_string_parameters();
        let configured = || self.providers.iter().map(|provider| provider.name.as_str()).collect();
        let providers: Vec<_> = parameters.first("provider").map_or_else(configured, |name| vec![name]);
        let Some(batch) = self.batches.find(&providers, id).await? else {
            return Ok(unknown(&id.to_string()));
        };
        let (outcome, wanted) = match resolution {
            Resolution::Sent => (Outcome::Confirmed { request_id: None, refused: Vec::new() }, BatchState::Confirmed),
            Resolution::NotSent { .. } => (Outcome::Disproved, BatchState::Rejected),
        };
        if batch.state != BatchState::Unknown && batch.state != wanted {
            return Err(Problem::Conflict("Only a batch whose state is UNKNOWN can be resolved"));
        }
        // A courier may be asking the provider again, under its key: until its turn is over, nobody knows better.
        if batch.state == BatchState::Unknown && batch.deadline >= clock::now() {
            return Err(Problem::Conflict("A request for this batch may still be under way; try again in a minute"));
        }
        let answer = Answer { http_status: None, error: Some(format!("resolved by {}", operator.name)) };
        let settled = self.batches.settle(&batch.provider, id, &outcome, &answer, clock::now()).await?;
        match settled {
            Some(batch) if batch.state == wanted => {
                info!(event = "resolved", batch_id = %id, operator = operator.name, ?resolution, "resolved");
                self.tell(&batch, resolution).await?;
                Ok(http::json(StatusCode::OK, &BatchView::of(&batch)))
            }
            _ => Err(Problem::Conflict("The batch was settled in the meantime")),
        }
    }

    /// Tells the members. A repeat of the call tells those that could not be told.
    async fn tell(&self, batch: &Batch, resolution: Resolution) -> Result<(), Problem> {
        let now = clock::now();
        let Resolution::NotSent { requeue } = resolution else {
            confirm_members(&self.messages, &self.batches, batch).await;
            return Ok(());
        };
        let moves = batch.members.iter().map(|id| match requeue {
            true => Ok(Move::requeue(*id, batch.id, now)),
            false => Move::refuse(*id, batch.id, Reason::ProviderError, now),
        });
        for result in self.messages.make(&moves.collect::<Result<Vec<_>, _>>()?).await {
            result?;
        }
        Ok(())
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
