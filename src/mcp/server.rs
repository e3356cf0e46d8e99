//! The MCP server object, and over which transport its calls come.

use crate::{
    client::backend::Backend,
    mcp::{client_claims::Claims, custody::KeyCustody},
    platform::runtime::Runtime,
    service::services::Services,
};
use rmcp::model::{JsonObject, ProtocolVersion, RequestStateCodec};
use std::sync::Arc;

/// Over which transport a call came decides where claims are remembered and where a key may go.
#[derive(Clone)]
pub enum Transport {
    /// This process belongs to one client on this computer.
    Stdio(Arc<KeyCustody>),
    /// Many clients, elsewhere.
    Http(Arc<Services>),
}

/// The MCP server object.
#[derive(Clone)]
pub struct Tools {
    pub backend: Backend,
    pub way: Transport,
    pub runtime: Runtime,
    /// Claims opened over HTTP, by caller; over stdio they are in its custody.
    pub claims: Arc<Claims>,
    /// What is spoken over this transport.
    pub versions: &'static [ProtocolVersion],
    /// Seals what clients carry between two calls.
    pub seal: RequestStateCodec,
    /// What a tool takes. Told to this object, so that reading arguments needs not know the tools.
    pub schema_of: fn(&str) -> Option<&'static JsonObject>,
}
