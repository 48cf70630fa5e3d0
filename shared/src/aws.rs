//! The AWS clients, with the time-outs that the SDK does not set by itself.
//!
//! Without them a silent server holds a call for over a minute, and the first retry waits a second.
//! Ring does the TLS: AWS-LC would spend 34 ms of CPU on jitter entropy in every cold start.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

const CONNECT_MS: u64 = 1_000;
const ATTEMPT_MS: u64 = 2_000;
const OPERATION_MS: u64 = 6_000;
const ATTEMPTS_MAX: u32 = 3;
const BACKOFF_FIRST_MS: u64 = 50;

/// Region, credentials and endpoints from the environment, as Lambda sets them.
pub async fn configuration() -> SdkConfig {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(CONNECT_MS))
        .operation_attempt_timeout(Duration::from_millis(ATTEMPT_MS))
        .operation_timeout(Duration::from_millis(OPERATION_MS))
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(Duration::from_millis(BACKOFF_FIRST_MS));
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .timeout_config(timeouts)
        .retry_config(retries)
        .load()
        .await
}

/// What a failed call may say in a log: a code or a kind. Never its details, which may quote an item.
pub fn brief<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    match error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or("unknown service error").to_owned(),
        SdkError::TimeoutError(_) => "timed out".to_owned(),
        SdkError::DispatchFailure(_) => "connection failed".to_owned(),
        SdkError::ResponseError(_) => "answer unreadable".to_owned(),
        SdkError::ConstructionFailure(_) => "request malformed".to_owned(),
        _ => "failed".to_owned(),
    }
}
