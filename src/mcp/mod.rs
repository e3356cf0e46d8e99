//! Five tools for agents, and the ways in. One handler serves stdio, Streamable HTTP and HTTP+SSE; a tool result is read by a
//! model and kept in transcripts, so no result ever carries a secret.

mod args;
mod ceremony;
pub mod claims;
mod elicit;
mod error;
mod form;
mod gate;
mod http;
mod message;
mod results;
mod schema;
mod sessions;
mod shape;
mod sse;
pub mod stdio;
mod tools;
mod waiting;

pub use error::CODES as ERROR_CODES;
pub use http::{Door, serving, ways_in};
pub use tools::{Tools, definitions};
