//! The rules. No I/O, no async, no clock, no global randomness: time and random bytes are arguments.
//!
//! [`registration`] is the claim ceremony as a state machine, [`key`] is what a human countersigns,
//! [`scope`] the catalogue of permissions, [`secret`] the values that may be shown once and never stored.

pub mod account;
pub mod activity;
pub mod id;
pub mod idempotency;
pub mod key;
pub mod limit;
pub mod loss;
pub mod name;
pub mod nearest;
pub mod operation;
pub mod page_path;
pub mod password;
pub mod pasted;
pub mod place;
pub mod program_session;
pub mod registration;
pub mod scope;
pub mod secret;
pub mod source;
pub mod tally;
pub mod time;
pub mod usage;
pub mod visible;
