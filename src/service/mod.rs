//! The use cases: what can be done, whoever asks and over whichever transport.
//!
//! The contexts, each of which may use those named after it: [`admin`] for whoever runs the deployment, [`claims`] for the
//! ceremony between agent and human, [`keys`] for what owners do with keys, [`accounts`] for humans and how they sign in,
//! [`verification`] for what services ask. What all of them share is in [`context`]; [`housekeeping`] does what time does by itself.

pub(crate) mod access_token;
pub mod accounts;
pub mod active_account;
pub mod admin;
pub mod caller;
pub mod caller_addresses;
pub mod claims;
pub mod context;
pub mod errors;
pub mod fresh_sign_in;
pub mod housekeeping;
pub mod idempotency;
pub mod keys;
pub(crate) mod latest_time;
pub(crate) mod rate_limit;
pub mod record_event;
pub mod redelivery;
pub mod services;
pub mod throttle;
pub(crate) mod usage_days;
pub(crate) mod usage_log;
pub mod verification;
