//! POST /reconciliations, for operators: compares a provider's invoice with the record.
//!
//! The invoice is the body, and nothing of it is kept. A call can carry 6 MB, which is 4.5 MB
//! of JSON lines once they are escaped in an event. At one request per second that is a day as
//! CSV, with the columns that are read, or six hours of FastSMSing's own lines. A month is
//! reconciled in parts, and the parts add up. A day of 86,400 lines takes about 11 MB with its
//! text, so the function's 256 MB are plenty.

use domain::invalid::Invalid;
use domain::invoice::{Format, Lines};
use domain::reconciliation::{
    Reconciliation, ReconciliationResult, Recorded, Scope, billed_within,
};
use edge::answer;
use edge::problem::Problem;
use edge::request::media_type;
use jiff::Timestamp;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use record::period::{Period, Reading};
use serde::Serialize;
use tracing::info;

use crate::App;
use crate::period::{PeriodQuery, until};

/// The size of a body, in bytes, by Lambda's limit for an event.
const BODY_BYTES_MAX: usize = 6 * 1024 * 1024;

#[derive(Serialize)]
struct Document<'a> {
    provider: &'a str,
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    result: ReconciliationResult,
}

impl App {
    pub(crate) async fn post_reconciliation(
        &self,
        request: &Request,
    ) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let query = PeriodQuery::parse(parameters.iter(), None)?;
        let provider = self.provider_of_invoice(&query)?;
        let scope = self.scope(provider, &query);
        let mut reconciliation = Reconciliation::new(scope);
        for line in Lines::read(format(request)?, text(request)?)? {
            reconciliation.add_line(line?);
        }
        let (from, to) = scope.reach();
        let period = Period {
            provider,
            from: from.max(self.since),
            to,
        };
        let add_batch = |batch: Recorded| reconciliation.add_batch(&batch);
        if let Reading::OutOfTime(read) = self
            .batches
            .each_recorded(period, until(request), add_batch)
            .await?
        {
            return Err(query.too_long(read));
        }
        let result = reconciliation.finish();
        info!(
            event = "reconciled",
            provider,
            from = %query.from,
            to = %query.to,
            verdict = ?result.verdict,
            billed = result.bound.billed,
            at_least = result.bound.at_least,
            at_most = result.bound.at_most,
            "an invoice was compared with the record"
        );
        Ok(answer::json(
            StatusCode::OK,
            &Document {
                provider,
                from: query.from,
                to: query.to,
                result,
            },
        ))
    }

    /// The provider that was asked for, or the only one that is configured.
    fn provider_of_invoice<'a>(&'a self, query: &'a PeriodQuery) -> Result<&'a str, Invalid> {
        match &self.providers.names(query.provider.as_deref())[..] {
            [one] => Ok(*one),
            several => {
                let rule = format!(
                    "Must be the provider of the invoice: {}",
                    several.join(" or ")
                );
                Err(Invalid::new("provider", "", &rule))
            }
        }
    }

    /// What is compared: the period, and what is configured for the provider.
    fn scope(&self, provider: &str, query: &PeriodQuery) -> Scope {
        let configured = self.providers.find(provider);
        Scope {
            from: query.from,
            to: query.to,
            price: configured.and_then(|provider| provider.price_per_request),
            billed_within: billed_within(configured.map_or(0, |provider| provider.key_lifetime_s)),
        }
    }
}

/// The format of the body, by its Content-Type.
fn format(request: &Request) -> Result<Format, Problem> {
    match media_type(request.headers()).as_str() {
        "application/x-ndjson" | "application/json" => Ok(Format::JsonLines),
        "text/csv" => Ok(Format::Csv),
        _ => Err(Problem::NotAnInvoice),
    }
}

fn text(request: &Request) -> Result<&str, Problem> {
    let body: &[u8] = request.body();
    if body.len() > BODY_BYTES_MAX {
        return Err(Problem::TooLarge {
            limit_bytes: BODY_BYTES_MAX,
        });
    }
    str::from_utf8(body).map_err(|_| Invalid::new("body", "", "Must be UTF-8").into())
}
