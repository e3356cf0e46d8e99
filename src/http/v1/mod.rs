//! `/v1`: keys, their verification, the portal and forward-auth.

pub(crate) mod forward_auth;
pub(crate) mod keys;
pub(crate) mod portal_sessions;
pub mod verify;
pub mod whoami;
