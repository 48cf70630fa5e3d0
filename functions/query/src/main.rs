use lambda_http::{Error, run, service_fn};
use query::App;
use shared::config::Source;
use shared::{aws, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let source = Source::environment();
    telemetry::start(source.text("RUST_LOG").ok());
    let app = App::read(&source, &aws::configuration().await)?;
    app.warm_up().await;
    run(service_fn(|request| app.handle(request))).await
}
