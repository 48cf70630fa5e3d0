//! POST /reconciliations: the provider's invoice of a period, held against the record.
//!
//! The invoice is the body, as it came; nothing of it is kept. A call can carry 6 MB, of JSON lines 4.5 MB once they
//! are wrapped in an event: at one request a second that is a day as CSV of the columns that are read, or six hours
//! of FastSMSing's own lines. A month is reconciled part by part, and the parts add up. A day of 86,400 lines
//! takes about 11 MB with its text, so 128 MB of memory are plenty.

use jiff::Timestamp;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use shared::http::{self, Problem};
use shared::invoice::{Format, Lines};
use shared::message::Invalid;
use shared::reconciliation::{Reconciliation, Recorded, Report, Terms, billed_within};
use shared::record::period::{Period, Reading};
use tracing::info;

use crate::App;
use crate::period::{OfPeriod, until};

const BODY_BYTES_MAX: usize = 6 * 1024 * 1024;

#[derive(Serialize)]
struct Document<'a> {
    provider: &'a str,
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    report: Report,
}

impl App {
    pub(crate) async fn post_reconciliation(&self, request: &Request) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let asked = OfPeriod::parse(parameters.iter(), None)?;
        let provider = match &self.names(asked.provider.as_deref())[..] {
            [one] => *one,
            several => {
                let rule = format!("Must be the provider of the invoice: {}", several.join(" or "));
                return Err(Invalid::new("provider", "", &rule).into());
            }
        };
        let configured = self.providers.iter().find(|configured| configured.name == provider);
        let terms = Terms {
            from: asked.from,
            to: asked.to,
            price: configured.and_then(|provider| provider.price_per_request),
            billed_within: billed_within(configured.map_or(0, |provider| provider.key_lifetime_s)),
        };
        let mut reconciliation = Reconciliation::new(terms);
        for line in Lines::read(format(request)?, text(request)?)? {
            reconciliation.bill(line?);
        }
        let (from, to) = terms.reach();
        let period = Period { provider, from: from.max(self.since), to, fields: &Recorded::FIELDS };
        let hold = |batch: Recorded| reconciliation.hold(&batch);
        if let Reading::OutOfTime(read) = self.batches.each(period, until(request), hold).await? {
            return Err(asked.too_long(read));
        }
        let report = reconciliation.finish();
        info!(
            event = "reconciled",
            provider,
            from = %asked.from,
            to = %asked.to,
            verdict = ?report.verdict,
            billed = report.bound.billed,
            at_least = report.bound.at_least,
            at_most = report.bound.at_most,
            "reconciled"
        );
        Ok(http::json(StatusCode::OK, &Document { provider, from: asked.from, to: asked.to, report }))
    }
}

/// How the body is written, by its Content-Type.
fn format(request: &Request) -> Result<Format, Problem> {
    match http::media_type(request.headers()).as_str() {
        "application/x-ndjson" | "application/json" => Ok(Format::JsonLines),
        "text/csv" => Ok(Format::Csv),
        _ => Err(Problem::NotAnInvoice),
    }
}

fn text(request: &Request) -> Result<&str, Problem> {
    let body: &[u8] = request.body();
    if body.len() > BODY_BYTES_MAX {
        return Err(Problem::TooLarge { limit_bytes: BODY_BYTES_MAX });
    }
    str::from_utf8(body).map_err(|_| Invalid::new("body", "", "Must be UTF-8").into())
}
