//! The Lambda function `status`: composes its [`App`] and runs it.

use edge::start::start;
use lambda_http::{Error, run, service_fn};
use status::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, aws) = start().await;
    let app = App::new(&config, &aws)?;
    app.warm_up().await;
    run(service_fn(|request| app.handle(request))).await
}
