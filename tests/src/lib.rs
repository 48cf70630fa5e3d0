//! The local stack: everything that `template.yaml` deploys, on one machine. The functions are the
//! real binaries, each in processes of its own; all the rest runs inside this process. `cargo
//! local` and the tests in `it/` use it.
//!
//! The modules below are in the order in which the stack starts. The template says what there is.
//! The two stores are embedded servers that speak AWS's own protocols. Lambda runs the functions,
//! and the HTTP API, the queue and the schedule invoke them. A wire, which a test can break,
//! connects the functions with each store. The stack puts all of this together.
//!
//! A scene adds both ends: the callers, and the simulated providers, which share no code with the
//! product. An audit then compares three ledgers: what callers were promised, what the providers
//! billed, and what the record says.

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
pub mod baselines;
pub mod caller;
pub mod crash;
pub mod demo;
pub mod invoice;
pub mod providers;
pub mod scene;

// What several of the modules above use.
pub mod activity;
pub mod loopback;
