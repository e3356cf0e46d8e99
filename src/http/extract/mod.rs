//! What handlers take out of a request: bodies, parameters, credentials, the caller's address.

pub mod accept;
pub mod body;
pub mod client_address;
pub(crate) mod credential;
pub mod host;
pub mod host_check;
pub(crate) mod idempotency_key;
pub mod members;
pub mod params;
pub mod prefer_wait;
pub mod query_secrets;
pub mod strict_json;
