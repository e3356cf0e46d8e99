//! Which way a call of MCP came in.

use crate::{mcp::custody::KeyCustody, service::services::Services};
use std::sync::Arc;

/// Which way in a call came decides where claims are remembered and where a key may go.
#[derive(Clone)]
pub enum Transport {
    /// This process belongs to one client on this computer.
    Stdio(Arc<KeyCustody>),
    /// Many clients, elsewhere.
    Http(Arc<Services>),
}
