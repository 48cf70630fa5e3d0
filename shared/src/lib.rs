//! What the functions share, one idea a file, on three floors. Arrows point down only: what decides knows
//! no clock, no chance and no wire; what reaches has one concrete type per outside thing; the edges
//! speak to callers and to the platform.

// What decides.
pub mod batch;
pub mod id;
pub mod invoice;
pub mod message;
pub mod money;
pub mod number;
pub mod pace;
pub mod proof;
pub mod reconciliation;
pub mod report;
pub mod segment;
pub mod shape;
pub mod standing;
pub mod state;
pub mod statistics;

// What reaches.
pub mod aws;
pub mod clock;
pub mod courier;
pub mod crash;
pub mod provider;
pub mod queue;
pub mod record;
pub mod telemetry;

// Edges.
pub mod auth;
pub mod config;
pub mod http;
pub mod view;
pub mod webhook;
