//! What decides. Nothing here knows a clock, an environment, chance or I/O: functions take the time
//! and return a value, so the code and the model in `tests/it/model` call the same rules.
//!
//! | to read about | open |
//! |---|---|
//! | the states of a message, and what a report does to them | [`state`] |
//! | a message, and what a caller may ask for | [`message`], [`message_request`], [`recipient`], [`originator`], [`text`], [`segment`] |
//! | the refusal of a field | [`invalid`], [`fields`] |
//! | a batch and its outcomes | [`batch`] |
//! | when a batch goes out, and what is in it | [`batch_policy`], [`grouping`] |
//! | what a provider's answer means for a batch and its attempts | [`send_result`], [`attempt`] |
//! | what becomes of a batch's members | [`member`] |
//! | what recovery does with a batch that was left behind | [`recovery`] |
//! | when a bell comes back | [`bell`], [`dispatched`] |
//! | a provider: its configuration, slots, breaker and share | [`provider`], [`provider_list`], [`provider_state`], [`rate_limit`], [`share`] |
//! | the reports that providers send | [`delivery_report`], [`callback_token`] |
//! | numbers that are not sent to | [`number`] |
//! | figures, invoices and their reconciliation | [`statistics`], [`money`], [`invoice`], `csv`, [`reconciliation`] |
//! | ids that carry their time, digests | [`id`], [`digest`] |

pub mod attempt;
pub mod batch;
pub mod batch_policy;
pub mod bell;
pub mod callback_token;
mod csv;
pub mod delivery_report;
pub mod digest;
pub mod dispatched;
pub mod fields;
pub mod grouping;
pub mod id;
pub mod invalid;
pub mod invoice;
pub mod member;
pub mod message;
pub mod message_request;
pub mod money;
pub mod number;
pub mod originator;
pub mod provider;
pub mod provider_list;
pub mod provider_state;
pub mod rate_limit;
pub mod recipient;
pub mod reconciliation;
pub mod recovery;
pub mod segment;
pub mod send_result;
pub mod share;
pub mod state;
pub mod statistics;
pub mod text;
