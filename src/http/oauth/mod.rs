//! OAuth's own endpoints: token, introspection, revocation, registration.

pub(crate) mod introspect;
pub(crate) mod register;
pub mod revoke;
pub(crate) mod token;
