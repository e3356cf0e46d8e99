//! The pages humans see: server-rendered, complete without JavaScript, nothing loaded from elsewhere.
//!
//! Every request passes [`page_layer::dress`] once: it finds out who is looking (`session::Visitor`), refuses forms
//! that come from elsewhere, and puts the same headers on every answer. Every POST is read by `form::Form`,
//! which checks its token. Handlers make one service call and show what came of it.

pub(crate) mod activity;
pub(crate) mod activity_text;
pub(crate) mod admin;
pub(crate) mod agents;
pub mod assets;
pub(crate) mod brand;
pub mod claim;
pub(crate) mod connect;
pub(crate) mod docs;
pub(crate) mod error_page;
pub mod error_text;
pub mod failure;
pub(crate) mod field;
pub(crate) mod form;
pub(crate) mod guide;
pub(crate) mod home;
pub(crate) mod keys;
pub(crate) mod layout;
pub mod page_layer;
pub(crate) mod scopes;
pub(crate) mod security;
pub mod security_headers;
pub(crate) mod session;
pub mod sign_in;
pub(crate) mod time;
pub(crate) mod usage_chart;

use crate::{
    service::services::App,
    web::{
        claim::{enter_code, review},
        sign_in::{login, portal, setup},
    },
};
use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};

/// Whether a path is a page's, or that of what pages are made of: the first part of it is known here.
pub fn is_page(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    matches!(
        first,
        "" | "activity" | "admin" | "claim" | "connect" | "docs" | "login" | "logout" | "portal" | "settings" | "setup" | "signup"
    ) || matches!(path, "/style.css" | "/mark.svg" | "/brand.css" | "/logo")
}

/// Every page. `app` is what the layer around them looks humans up with.
pub fn router(app: &App) -> Router<App> {
    Router::new()
        .route("/", get(home::show))
        .merge(guide::pages::router())
        .route("/connect", get(connect::show))
        .route("/setup", get(setup::show).post(setup::set_up))
        .route("/signup", get(login::show_sign_up).post(login::sign_up))
        .route("/login", get(login::show).post(login::sign_in))
        .route("/logout", post(login::sign_out))
        .route("/portal", get(portal::show).post(portal::enter))
        .route("/claim", get(enter_code::show).post(enter_code::enter))
        .route("/claim/{registration}", get(review::show).post(review::decide))
        .route("/claim/{registration}/done", get(review::done))
        .merge(keys::router())
        .merge(agents::router())
        .route("/settings/security", get(security::show))
        .route("/settings/security/password", post(security::change_password))
        .route("/settings/security/browsers/{browser}/end", post(security::end_browser))
        .route("/settings/security/sign-out", post(security::sign_out_everywhere))
        .route("/activity", get(activity::show))
        .merge(admin::router())
        .layer(from_fn_with_state(app.clone(), page_layer::dress))
        .route("/style.css", get(assets::style))
        .route("/mark.svg", get(assets::mark))
        .route("/brand.css", get(brand::brand_css))
        .route("/logo", get(brand::logo))
}
