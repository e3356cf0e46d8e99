//! The pages humans see: server-rendered, complete without JavaScript, nothing loaded from elsewhere.
//!
//! Every request passes [`layout::dress`] once: it finds out who is looking ([`session::Visitor`]), refuses forms
//! that come from elsewhere, and puts the same headers on every answer. Every POST is read by [`form::Form`],
//! which checks its token. Handlers make one service call and show what came of it.

mod activity;
mod admin;
mod again;
mod agents;
mod brand;
mod claim;
mod connect;
mod docs;
mod error;
mod field;
mod form;
mod guide;
mod happening;
mod home;
mod keys;
mod layout;
mod login;
mod plot;
mod portal;
mod review;
mod review_page;
mod scopes;
mod security;
mod session;
mod setup;
mod time;

use crate::http::App;
use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};

pub use error::error_page;

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
        .route("/claim", get(claim::show).post(claim::enter))
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
        .layer(from_fn_with_state(app.clone(), layout::dress))
        .route("/style.css", get(layout::style))
        .route("/mark.svg", get(layout::mark))
        .route("/brand.css", get(brand::brand_css))
        .route("/logo", get(brand::logo))
}
