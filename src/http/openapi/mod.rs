//! `/openapi.json`: the OpenAPI 3.1 document, read off the code.
//!
//! A module lists its routes in `routes()`, each with the words only a human can give it:
//!
//! ```ignore
//! .on(Post, "/v1/keys/verify", verify, |op| op.about("verifyKey", "Check a key").needs(KEYS_VERIFY))
//! ```
//!
//! The rest comes from the handler's types. Extractors say what is sent and how reading it fails, `response`
//! what comes back. What a type can't know, the deployment's profile, it leaves as a note ([`terms::ENVELOPE`], [`terms::ERRORS`]);
//! [`document`] replaces the notes by what [`error_catalogue`](crate::api::error_catalogue) and `envelope` make of them.

pub mod describe;
pub mod document;
pub mod sample;
pub mod terms;
