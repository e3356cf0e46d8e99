//! JSON for programs: agent-auth, the OAuth endpoints, keys, discovery, health. Handlers parse, make one service
//! call, render; errors travel as values and get their envelope once, at the edge of their family ([`error`]).

mod agent;
mod auth_md;
mod body;
pub mod client;
mod credential;
mod discovery;
mod error;
mod guard;
mod keys;
mod token;

use crate::service::Service;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    middleware::{from_fn_with_state, map_response_with_state},
    response::{IntoResponse, Response},
    routing::{any, delete, get, post},
};
use error::Failed;
use std::sync::Arc;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer},
};

pub use credential::presented;
pub use error::challenge;
pub use guard::{host_is_ours, named_host, secret_in_query};

/// What every handler is given.
pub type App = Arc<Service>;

/// No request body is larger.
pub const MAX_BODY: usize = 64 * 1024;

/// Everything a deployment answers over HTTP: programs, pages, MCP.
pub fn router(app: App) -> Router {
    let oauth = Router::new()
        .route("/agent/identity", post(agent::register))
        .route("/agent/identity/claim", post(agent::new_attempt))
        .route("/agent/pickup", post(agent::pickup))
        .route("/oauth2/token", post(token::token))
        .route("/oauth2/revoke", post(token::revoke))
        // What is not there still belongs to the family, envelope and all.
        .route("/agent/{*rest}", any(error::no_route))
        .route("/oauth2/{*rest}", any(error::no_route))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(app.clone(), guard::no_credentials_in_query))
        .layer(map_response_with_state(app.clone(), error::oauth_envelope));
    let api = Router::new()
        .route("/v1/whoami", get(keys::whoami))
        .route("/v1/projects", get(keys::projects))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/verify", post(keys::verify))
        .route("/v1/keys/{id}", delete(keys::revoke).get(keys::get))
        .route("/v1/keys/{id}/usage", get(keys::usage))
        .merge(discovery::router())
        .route("/healthz", get(|| async { Json(serde_json::json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::from_fn(credential::ratelimit_headers))
        .layer(from_fn_with_state(app.clone(), guard::no_credentials_in_query))
        .layer(map_response_with_state(app.clone(), error::profile_envelope));
    oauth
        .merge(api)
        .layer(cors(&app))
        .merge(crate::web::router(&app))
        .layer(from_fn_with_state(app.clone(), guard::known_host))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app.clone())
        .merge(crate::mcp::router(&app))
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(app, guard::request_id))
}

/// Off but for the configured origins; never with credentials.
fn cors(app: &App) -> CorsLayer {
    let origins = app.config.http.cors_origins.iter().filter_map(|origin| origin.parse().ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
}

async fn ready(State(app): State<App>) -> Response {
    if app.ready().await {
        Json(serde_json::json!({"status": "ready"})).into_response()
    } else {
        Failed(crate::service::Error::Unavailable).into_response()
    }
}

/// A success in the configured envelope: `{"success":true,"data":…}` in the flat profile, the bare object elsewhere.
fn success(app: &App, status: StatusCode, value: impl serde::Serialize) -> Response {
    match app.config.profile {
        crate::config::Profile::Flat => (status, Json(serde_json::json!({"success": true, "data": value}))).into_response(),
        crate::config::Profile::Nested | crate::config::Profile::Problem => (status, Json(value)).into_response(),
    }
}

/// A reply that carries a secret is kept nowhere (RFC 6749 §5.1).
const NO_STORE: [(&str, &str); 2] = [("cache-control", "no-store"), ("pragma", "no-cache")];
