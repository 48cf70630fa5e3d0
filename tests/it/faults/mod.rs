//! Faults of the provider, of the record and of the processes.
//!
//! After each of them no message is lost, and none is sent twice.

mod dispatcher;
mod provider;
mod record;
