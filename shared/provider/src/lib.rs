//! The providers' protocols over HTTP: how a batch is sent, and what the answer proves.
//!
//! The dispatcher calls [`ProviderClient::send`], and only after the batch's intent is recorded
//! (W3). Each protocol has a file that documents its contract; `wire` is what they share.
//!
//! What matters is whether the provider could have acted on the request. A time-out is not an
//! error but "sent, not confirmed". Without an idempotency key, only evidence that the provider did
//! not act allows another attempt.
//!
//! | observation | [`SendResult`](domain::send_result::SendResult) |
//! |---|---|
//! | no connection | `NotSent` |
//! | 2xx with a readable body | `Confirmed`, with refusals of single messages |
//! | 2xx, body cut or unreadable | `Unknown` |
//! | 429; 503 with Retry-After | `NotSent`, with the pause that the provider asks for |
//! | 400, 413, 422 | `Refused`; `Misconfigured` where the error is about our account |
//! | 3xx and other 4xx | `Misconfigured` |
//! | other 5xx with the provider's error body | `NotSent` |
//! | time-out, reset, closed without an answer, 408, 409, 502, 504, anything unreadable | `Unknown` |

mod callback;
mod client;
mod error;
mod fastsmsing;
mod messagebird;
mod wire;

pub use client::ProviderClient;
pub use error::ProviderError;
