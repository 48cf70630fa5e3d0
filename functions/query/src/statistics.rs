//! GET /statistics: the figures of a period's batches, by provider, for operators.

use domain::batch::Batch;
use domain::money::Money;
use domain::statistics::{Figures, Statistics};
use edge::answer;
use edge::problem::Problem;
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use record::clock;
use record::period::{Period, Reading};
use serde::Serialize;

use crate::App;
use crate::period::{PeriodQuery, until};

/// The length of a period where the caller does not say.
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
    pub(crate) async fn get_statistics(
        &self,
        request: &Request,
    ) -> Result<Response<Body>, Problem> {
        self.clients.identify_operator(request.headers())?;
        let parameters = request.query_string_parameters();
        let query = PeriodQuery::parse(parameters.iter(), Some((clock::now(), LENGTH_DEFAULT)))?;
        let mut providers = Vec::new();
        for provider in self.providers.names(query.provider.as_deref()) {
            let mut statistics = Statistics::default();
            let period = Period {
                provider,
                from: query.from.max(self.since),
                to: query.to,
            };
            let add = |batch: Batch| statistics.add(&batch);
            if let Reading::OutOfTime(read) =
                self.batches.each_batch(period, until(request), add).await?
            {
                return Err(query.too_long(read));
            }
            let configured = self.providers.find(provider);
            let price_per_request = configured.and_then(|provider| provider.price_per_request);
            providers.push(OfProvider {
                provider,
                price_per_request,
                figures: statistics.figures(price_per_request),
            });
        }
        Ok(answer::json(
            StatusCode::OK,
            &Document {
                from: query.from,
                to: query.to,
                providers,
            },
        ))
    }
}
