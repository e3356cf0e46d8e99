//! Five tools for agents, and the ways in. One handler serves stdio and Streamable HTTP; a tool result is read by a
//! model and kept in transcripts, so no result ever carries a secret.

mod args;
mod ceremony;
pub mod claims;
mod error;
mod http;
mod results;
mod sessions;
pub mod stdio;
mod tools;

pub use error::CODES as ERROR_CODES;
pub use http::router;
pub use tools::{Tools, definitions};
