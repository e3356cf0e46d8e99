//! Every route there is, in reading order. What surrounds them is the guard's.

use crate::{
    config::settings::Config,
    http::{
        agent_auth::registration,
        discovery::metadata,
        extract::body::MAX_BODY_BYTES,
        functions, health,
        oauth::{introspect, register, token},
        openapi::document::Document,
        password_grant,
        routes::Routes,
        v1::{forward_auth, keys, portal_sessions, verify::verify_routes},
    },
    server::fallback,
    service::{services, services::App},
};
use aide::axum::ApiRouter;
use axum::{Extension, Router, extract::DefaultBodyLimit, routing::any};

/// What is answered by routes, behind the guard: programs and pages, and of MCP what has routes.
pub fn router(app: App, sse: Router) -> Router {
    let oauth = oauth_routes::<Router<App>>()
        // What is not there still belongs to the family, envelope and all.
        .route("/agent/{*rest}", any(fallback::no_route))
        .route("/oauth2/{*rest}", any(fallback::no_route))
        .method_not_allowed_fallback(fallback::method_not_allowed);
    let api = api_routes::<Router<App>>(&app.context.config)
        .fallback(fallback::no_route)
        .method_not_allowed_fallback(fallback::method_not_allowed);
    oauth
        .merge(api)
        .merge(crate::web::router(&app))
        .layer(Extension(Document::new(routes)))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
        .merge(sse)
}

/// Routes whose errors are in OAuth's words.
fn oauth_routes<R: Routes>() -> R {
    registration::routes::<R>().and(token::routes()).and(introspect::routes()).and(register::routes())
}

/// Routes whose errors are in the profile's words.
fn api_routes<R: Routes>(config: &Config) -> R {
    let routes = keys::routes::<R>().and(functions::routes()).and(portal_sessions::routes()).and(metadata::routes()).and(health::routes());
    if config.sessions.password_grant { routes.and(password_grant::routes()) } else { routes }
}

/// All documented routes, for the OpenAPI document.
pub fn routes(config: &Config) -> ApiRouter<services::App> {
    oauth_routes::<ApiRouter<_>>().and(api_routes(config)).and(verify_routes()).and(forward_auth::routes())
}
