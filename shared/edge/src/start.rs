//! How every function's process starts.

use aws_config::SdkConfig;
use record::aws;

use crate::config::{Config, Environment};
use crate::telemetry;

/// Starts logging. Returns the configuration and the AWS settings.
pub async fn start() -> (Config<Environment>, SdkConfig) {
    let config = Config::environment();
    telemetry::start(config.text("RUST_LOG").ok());
    (config, aws::configuration().await)
}
