//! Who may see the operator's pages, and the tabs between them.

use crate::{
    api::error::Error,
    service::services::App,
    web::{
        failure::PageError,
        session::{Human, Visitor},
    },
};
use axum::{
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};

/// A signed-in human whose account runs the deployment.
pub struct Operator(pub Human);

impl FromRequestParts<App> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let human = Human::from_request_parts(parts, app).await?;
        if human.account.operator { Ok(Self(human)) } else { Err(PageError(Error::NoRoute).into_response()) }
    }
}

/// The ways through the administration, this one marked.
pub fn tabs(visitor: &Visitor) -> Markup {
    let tab = |path: &str, label: &str| {
        let here = if path == "/admin" { visitor.path == path } else { visitor.path.starts_with(path) };
        html! { a href=(path) aria-current=[here.then_some("page")] { (label) } }
    };
    html! {
        nav.tabs aria-label="Administration" { (tab("/admin", "Overview")) (tab("/admin/accounts", "Accounts")) (tab("/admin/agents", "Agents")) }
    }
}
