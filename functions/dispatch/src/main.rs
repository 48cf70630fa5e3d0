//! The Lambda function `dispatch`: composes its [`App`] and runs it.

use dispatch::App;
use edge::start::start;
use lambda_runtime::{Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, aws) = start().await;
    let app = App::new(&config, &aws)?;
    app.warm_up().await;
    run(service_fn(|event| app.handle(event))).await
}
