//! JSON for programs: agent-auth, the OAuth endpoints, keys, discovery, health. Handlers parse, make one service call, render.

pub mod client;

use crate::service::Service;
use std::sync::Arc;

/// What every handler is given.
pub type App = Arc<Service>;
