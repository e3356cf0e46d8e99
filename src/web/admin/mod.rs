//! `/admin`: the deployment, for operator accounts. For everybody else there is no such page.

mod accounts;
mod agents;
mod download;
mod overview;

use crate::{
    http::App,
    service::Error,
    web::{
        error::Failure,
        session::{Human, Visitor},
    },
};
use axum::{
    Router,
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use maud::{Markup, html};

pub fn router() -> Router<App> {
    Router::new()
        .route("/admin", get(overview::show))
        .route("/admin/days.csv", get(overview::download))
        .route("/admin/accounts", get(accounts::list))
        .route("/admin/accounts.csv", get(accounts::download))
        .route("/admin/accounts/{id}", get(accounts::show))
        .route("/admin/accounts/{id}/plan", post(accounts::set_plan))
        .route("/admin/accounts/{id}/verify-email", post(accounts::verify_email))
        .route("/admin/accounts/{id}/disable", get(accounts::confirm_disable).post(accounts::disable))
        .route("/admin/accounts/{id}/enable", post(accounts::enable))
        .route("/admin/agents", get(agents::list))
        .route("/admin/agents.csv", get(agents::download))
}

/// A signed-in human whose account runs the deployment.
pub struct Operator(pub Human);

impl FromRequestParts<App> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let human = Human::from_request_parts(parts, app).await?;
        if human.account.operator { Ok(Self(human)) } else { Err(Failure(Error::NoRoute).into_response()) }
    }
}

/// The ways through the administration, this one marked.
fn tabs(visitor: &Visitor) -> Markup {
    let tab = |path: &str, label: &str| {
        let here = if path == "/admin" { visitor.path == path } else { visitor.path.starts_with(path) };
        html! { a href=(path) aria-current=[here.then_some("page")] { (label) } }
    };
    html! {
        nav.tabs aria-label="Administration" { (tab("/admin", "Overview")) (tab("/admin/accounts", "Accounts")) (tab("/admin/agents", "Agents")) }
    }
}
