//! The settings of the AWS clients, with the time-outs that the SDK does not set by itself.
//!
//! Without time-outs a silent server holds a call for over a minute, and the SDK's
//! first retry waits a second. Ring does the TLS, because AWS-LC spends 34 ms of CPU on
//! jitter entropy in every cold start.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// The time to open a connection, in milliseconds. Within a region it takes a few.
const CONNECT_MS: u64 = 1_000;
/// The time for one attempt at a call, in milliseconds. An answer usually takes less than 20.
const ATTEMPT_MS: u64 = 2_000;
/// The time for a call with all its retries, in milliseconds: three full attempts.
const OPERATION_MS: u64 = 6_000;
/// Attempts at one call. More of them would not fit into the time that a call has.
const ATTEMPTS_MAX: u32 = 3;
/// The longest wait before the first retry, in milliseconds. The SDK doubles it each time.
const BACKOFF_FIRST_MS: u64 = 50;

/// Reads region, credentials and endpoints from the environment, as Lambda sets them.
pub async fn configuration() -> SdkConfig {
    let https = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
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

/// What a log may say about a failed call: a code or a kind, but no details that quote an item.
pub fn brief<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    match error {
        SdkError::ServiceError(service) => service
            .err()
            .code()
            .unwrap_or("unknown service error")
            .to_owned(),
        SdkError::TimeoutError(_) => "timed out".to_owned(),
        SdkError::DispatchFailure(_) => "connection failed".to_owned(),
        SdkError::ResponseError(_) => "answer unreadable".to_owned(),
        SdkError::ConstructionFailure(_) => "request malformed".to_owned(),
        _ => "failed".to_owned(),
    }
}
