//! JSON for programs: agent-auth, the OAuth endpoints, keys, discovery, health. Handlers parse, make one service call, render.

pub mod client;

use crate::service::Service;
use std::sync::Arc;

/// What every handler is given.
pub type App = Arc<Service>;

/// Everything that is served over HTTP.
pub fn router(app: Arc<Service>) -> axum::Router {
    axum::Router::new().route("/health", axum::routing::get(|| async { "ok" })).with_state(app)
}
