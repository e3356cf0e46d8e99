//! `/agent/auth`: an agent asks for access.

pub(crate) mod registration;
