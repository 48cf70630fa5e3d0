//! Logs: one JSON object per line, as CloudWatch reads them.
//!
//! A line never holds a phone number, an originator, a text, an API key, a token or a whole event.
//! Ids, counts, states and error codes are enough to find out what happened.

use tracing_subscriber::EnvFilter;

/// Our own crates. `RUST_LOG` sets the level of their lines only.
const OWN: [&str; 10] = [
    "dispatcher",
    "edge",
    "provider",
    "record",
    "dispatch",
    "query",
    "send",
    "status",
    "sweep",
    "domain",
];

/// Starts logging for this process at a level such as `debug`, or `info` if none is given.
///
/// The SDK and the HTTP crates log warnings only, because their debug lines print bodies.
pub fn start(level: Option<String>) {
    let level = level.unwrap_or_else(|| "info".to_owned());
    let own: String = OWN.iter().map(|name| format!(",{name}={level}")).collect();
    let filter =
        EnvFilter::try_new(format!("warn{own}")).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .init();
}
