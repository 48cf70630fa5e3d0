//! The local stack: everything that `template.yaml` deploys, on one machine and inside one process, but for the
//! functions, which are the real binaries.
//!
//! Read it in the order in which it comes up. The template says what there is. The two stores are embedded servers that
//! speak AWS's own protocols. Then Lambda, and what wakes its functions: the HTTP API and the queue. Between the
//! functions and everything else lies a wire that a test can break. The stack puts all of it together.
//!
//! A scene adds the two ends: the providers, each simulated by an independent witness, and callers. An audit then compares
//! three ledgers: what the callers were told, what the providers billed, and what the record says.

pub mod template;

pub mod dynamo;
pub mod sqs;

pub mod binaries;
pub mod lambda;

pub mod event_source;
pub mod gateway;
pub mod schedule;

pub mod wire;

pub mod stack;

pub mod simulator;

pub mod callback;
pub mod fastsmsing;
pub mod messagebird;

pub mod audit;
pub mod caller;
pub mod crash;
pub mod demo;
pub mod economy;
pub mod invoice;
pub mod others;
pub mod scene;

// Small things that several of them stand on.
pub mod activity;
pub mod loopback;
