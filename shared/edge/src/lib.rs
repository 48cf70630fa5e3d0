//! The edges of the product, towards callers, providers' webhooks and the platform. The
//! function crates compose these parts.
//!
//! | to read about | open |
//! |---|---|
//! | how a process starts, and what it reads from its environment | [`start`], [`config`] |
//! | who the caller is, and what it may see | [`auth`] |
//! | what a call carries, how it is answered, what is wrong with it | [`request`], [`answer`], [`problem`] |
//! | messages, batches and numbers as callers read them | [`view`] |
//! | how a provider's report is authenticated | [`webhook`] |
//! | log lines | [`telemetry`] |

pub mod answer;
pub mod auth;
pub mod config;
pub mod problem;
pub mod request;
pub mod start;
pub mod telemetry;
pub mod view;
pub mod webhook;
