//! Five tools for agents, and the transports. One handler serves stdio, Streamable HTTP and HTTP+SSE; a tool result is read by a
//! model and kept in transcripts, so no result ever carries a secret.

pub(crate) mod arguments;
pub mod caller;
pub(crate) mod claim_flow;
pub mod client_claims;
pub mod custody;
pub(crate) mod elicitation;
pub mod error;
pub mod extract_arguments;
pub(crate) mod json_rpc;
pub(crate) mod lenient_arguments;
pub(crate) mod progress;
pub(crate) mod request_check;
pub(crate) mod response_format;
pub(crate) mod results;
pub mod server;
pub(crate) mod sessions;
pub(crate) mod sse;
pub mod stdio;
pub mod streamable_http;
pub(crate) mod tool_schema;
pub mod tools;
