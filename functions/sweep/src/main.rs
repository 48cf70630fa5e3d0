use lambda_runtime::{Error, run, service_fn};
use shared::config::Source;
use shared::{aws, telemetry};
use sweep::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let source = Source::environment();
    telemetry::start(source.text("RUST_LOG").ok());
    let app = App::read(&source, &aws::configuration().await)?;
    app.warm_up().await;
    run(service_fn(|event| app.handle(event))).await
}
