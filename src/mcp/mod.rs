//! Tools for agents: stdio, Streamable HTTP, SSE.

pub mod stdio;
