//! GET /statistics: what the batches of a period came to, by provider.

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use shared::batch::Batch;
use shared::clock;
use shared::http::{self, Problem};
use shared::money::Money;
use shared::record::period::{Period, Reading};
use shared::statistics::{Figures, Statistics};

use crate::App;
use crate::period::{OfPeriod, until};

const LENGTH_DEFAULT: SignedDuration = SignedDuration::from_hours(24);

#[derive(Serialize)]
struct Document<'a> {
    from: Timestamp,
    to: Timestamp,
    providers: Vec<OfProvider<'a>>,
}

#[derive(Serialize)]
struct OfProvider<'a> {
    provider: &'a str,
    price_per_request: Option<Money>,
    #[serde(flatten)]
    figures: Figures,
}

impl App {
    pub(crate) async fn get_statistics(&self, request: &Request) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let asked = OfPeriod::parse(parameters.iter(), Some((clock::now(), LENGTH_DEFAULT)))?;
        let mut providers = Vec::new();
        for provider in self.names(asked.provider.as_deref()) {
            let mut statistics = Statistics::default();
            let period = Period { provider, from: asked.from.max(self.since), to: asked.to, fields: &[] };
            let add = |batch: Batch| statistics.add(&batch);
            if let Reading::OutOfTime(read) = self.batches.each(period, until(request), add).await? {
                return Err(asked.too_long(read));
            }
            let price_per_request = self.price(provider);
            providers.push(OfProvider { provider, price_per_request, figures: statistics.figures(price_per_request) });
        }
        Ok(http::json(StatusCode::OK, &Document { from: asked.from, to: asked.to, providers }))
    }
}
