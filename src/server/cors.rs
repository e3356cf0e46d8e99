//! Which pages of other origins may call: none, but for those the configuration names.

use crate::service::services::App;
use axum::{
    Router,
    http::{HeaderName, header},
};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

/// What is called, for the configured origins and never with credentials; nothing where none are.
pub fn with_cors(app: &App, called: impl FnOnce() -> Router) -> Option<Router> {
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
    if app.context.config.http.cors_origins.is_empty() {
        return None;
    }
    let origins = app.context.config.http.cors_origins.iter().filter_map(|origin| origin.parse().ok());
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(READABLE);
    Some(called().layer(cors))
}
