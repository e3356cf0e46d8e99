//! Who humans are and how they sign in, programs that sign in for them, and what happened.

pub mod activity;
pub mod create;
pub mod find;
pub mod hash_queue;
pub mod password_grant;
pub mod passwords;
pub mod portal;
pub mod portal_ticket;
pub mod security;
pub mod sessions;
pub(crate) mod setup;
pub mod setup_code;
pub(crate) mod sign_in;
pub mod state;
pub(crate) mod step_up;
