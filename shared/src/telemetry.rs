//! Logs: one JSON object a line, as CloudWatch reads them.
//!
//! Never in a line: a phone number, a sender, a text, an API key, a token, or a whole event. Ids, counts,
//! states and error codes are all that it takes to find out what happened.

use tracing_subscriber::EnvFilter;

/// Starts logging for this process; `RUST_LOG` sets the level of our own lines.
///
/// The SDK and the HTTP crates are kept to warnings whatever it says: their debug lines print bodies.
pub fn start(source_level: Option<String>) {
    let level = source_level.unwrap_or_else(|| "info".to_owned());
    let directives =
        format!("warn,shared={level},send={level},dispatch={level},status={level},query={level},sweep={level}");
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .init();
}
