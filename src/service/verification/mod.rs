//! Whether a credential works now, and what it may do: what services ask for every request of their own.

pub(crate) mod introspect;
pub mod key_lookup;
pub(crate) mod revocation_watch;
pub mod revocations;
pub mod session_token;
pub mod state;
pub mod usage_flush;
pub mod usage_report;
pub mod verify;
