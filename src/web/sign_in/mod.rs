//! How humans sign in: the first set-up, signing in and up, a service's portal, and proving it again.

pub(crate) mod login;
pub(crate) mod portal;
pub(crate) mod setup;
pub(crate) mod step_up;
