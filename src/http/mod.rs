//! JSON for programs: agent-auth, the OAuth endpoints, keys, discovery, health. Handlers parse, make one service
//! call, render; errors travel as values and get their envelope once, at the edge of their family ([`error`]).

pub mod accept;
mod agent;
mod answer;
mod auth_md;
mod authorize;
pub mod body;
pub mod client;
mod credential;
mod discovery;
mod envelope;
mod error;
mod functions;
mod guard;
mod health;
mod hot;
mod idempotency;
mod introspect;
mod keys;
pub mod listen;
pub mod member;
pub mod openapi;
mod portal;
mod programs;
mod pulse;
mod register;
mod routes;
mod token;
pub mod untaken;

use crate::{config::Config, service::Service};
use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn_with_state, map_response_with_state},
    routing::any,
};
use envelope::Family;
use openapi::Document;
use routes::Routes;
use std::sync::Arc;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

pub use body::whole;
pub use credential::presented;
pub use envelope::challenge;
pub use guard::{may_ask, secret_in_query};
pub use hot::Front;
pub use register::NOT_VALID;

/// What every handler is given.
pub type App = Arc<Service>;

/// No request body is larger.
pub const MAX_BODY: usize = 64 * 1024;

/// What is answered by routes: programs and pages, and of MCP what has routes.
fn router(app: App, mcp: Router) -> Router {
    let oauth = oauth_routes::<Router<App>>()
        // What is not there still belongs to the family, envelope and all.
        .route("/agent/{*rest}", any(error::no_route))
        .route("/oauth2/{*rest}", any(error::no_route))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::from_fn(credential::ratelimit_headers))
        .layer(from_fn_with_state(app.clone(), guard::no_credentials_in_query))
        .layer(map_response_with_state((app.clone(), Family::OAuth), envelope::wrap));
    let api = api_routes::<Router<App>>(&app.config)
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::from_fn(credential::ratelimit_headers))
        .layer(from_fn_with_state(app.clone(), guard::no_credentials_in_query))
        .layer(map_response_with_state((app.clone(), Family::Api(app.config.profile)), envelope::wrap));
    let programs = with_cors(&app, oauth.merge(api)).layer(from_fn_with_state(app.clone(), guard::known_caller));
    programs
        .merge(crate::web::router(&app).layer(from_fn_with_state(app.clone(), guard::known_host)))
        .layer(Extension(Document::default()))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app.clone())
        .merge(with_cors(&app, mcp))
        .layer(from_fn_with_state(app.clone(), guard::request_id))
        .merge(hot::routes(&app))
}

/// Off but for the configured origins; never with credentials.
fn with_cors<S: Clone + Send + Sync + 'static>(app: &App, router: Router<S>) -> Router<S> {
    /// What a page may read of an answer, beside what every page may.
    const READABLE: [HeaderName; 9] = [
        HeaderName::from_static("mcp-session-id"),
        header::WWW_AUTHENTICATE,
        header::RETRY_AFTER,
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("x-ratelimit-limit"),
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
    ];
    if app.config.http.cors_origins.is_empty() {
        return router;
    }
    let origins = app.config.http.cors_origins.iter().filter_map(|origin| origin.parse().ok());
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(READABLE);
    router.layer(cors)
}

/// Routes whose errors are in OAuth's words.
fn oauth_routes<R: Routes>() -> R {
    agent::routes::<R>().and(token::routes()).and(introspect::routes()).and(register::routes())
}

/// Routes whose errors are in the profile's words.
fn api_routes<R: Routes>(config: &Config) -> R {
    let routes = keys::routes::<R>().and(functions::routes()).and(portal::routes()).and(discovery::routes()).and(health::routes());
    if config.sessions.password_grant { routes.and(programs::routes()) } else { routes }
}

/// A reply that carries a secret is kept nowhere (RFC 6749 §5.1).
fn no_store() -> [(HeaderName, HeaderValue); 2] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store")), (header::PRAGMA, HeaderValue::from_static("no-cache"))]
}
