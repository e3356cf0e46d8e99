//! The rules. No I/O, no async, no clock, no global randomness: time and random bytes are arguments.
//!
//! [`registration`] is the claim ceremony as a state machine, [`key`] is what a human countersigns,
//! [`scope`] the catalogue of permissions, [`secret`] the values that may be shown once and never stored.

pub mod account;
pub mod activity;
pub mod characters;
pub mod daily_count;
pub mod digest;
pub mod environment;
pub mod grant;
pub mod grant_type;
pub mod id;
pub mod idempotency;
pub mod journal_entry;
pub mod key;
pub mod key_format;
pub mod key_stream;
pub mod name;
pub mod nearest;
pub mod operation;
pub mod page_path;
pub mod password;
pub mod pasted;
pub mod pkce;
pub mod place;
pub mod program_session;
pub mod rate_limit;
pub mod registration;
pub mod scope;
pub mod seal;
pub mod secret;
pub mod server_secret;
pub mod session;
pub mod source;
pub mod throttle;
pub mod time;
pub mod usage;
pub mod user_code;
pub mod visible;
