//! `/portal`: a human comes in by a ticket that the service they use has for them.
//!
//! The address alone signs nobody in: link previews fetch it, and a stranger could send theirs. The page says who one
//! would be, and its button, a form like every other, spends the ticket.

use crate::{
    api::error::Error,
    domain::{account::Account, secret::PortalTicket},
    service::services::App,
    web::{failure::PageResult, form::Form, layout::Width, session::Visitor},
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::html;

pub async fn show(State(app): State<App>, visitor: Visitor) -> PageResult {
    let Some(ticket) = visitor.query("ticket").and_then(PortalTicket::parse) else { return Ok(over(&visitor)) };
    match app.accounts.portal(&ticket).await {
        // Who is already here needs no second session; the ticket ends by itself.
        Ok((account, return_to)) if visitor.signed_in.as_ref().is_some_and(|here| here.account.id == account.id) => {
            Ok(Redirect::to(return_to.as_str()).into_response())
        }
        Ok((account, _)) => Ok(page(&visitor, &account, &ticket)),
        Err(Error::NotFound { .. }) => Ok(over(&visitor)),
        Err(error) => Err(error.into()),
    }
}

pub async fn enter(State(app): State<App>, visitor: Visitor, form: Form) -> PageResult {
    let Some(ticket) = PortalTicket::parse(form.text("ticket")) else { return Ok(over(&visitor)) };
    match app.accounts.enter_portal(&ticket, visitor.source).await {
        Ok((token, return_to)) => visitor.welcome(&token, return_to.as_str()).await,
        Err(Error::NotFound { .. }) => Ok(over(&visitor)),
        Err(error) => Err(error.into()),
    }
}

fn page(visitor: &Visitor, account: &Account, ticket: &PortalTicket) -> Response {
    let content = html! {
        section.panel {
            h1 { "Continue as " span.mail { (account.email) } "?" }
            p.lead { (visitor.app.context.config.service_name) " says that this is you." }
            @if let Some(here) = &visitor.signed_in {
                p.alert.note { "You are signed in as " span.mail { (here.account.email) } ". Going on signs you out there." }
            }
            form method="post" action="/portal" {
                (visitor.token_field())
                input type="hidden" name="ticket" value=(ticket.expose());
                button.primary.full type="submit" { "Continue" }
            }
        }
        p.aside { "Not you? Close this page: nothing has happened." }
    };
    visitor.page(StatusCode::OK, Width::Card, "Continue", &content)
}

fn over(visitor: &Visitor) -> Response {
    let elsewhere = &visitor.app.context.config.signin.url;
    let content = html! {
        section.panel {
            h1 { "This link is over" }
            p { "A sign-in link works once, and for a minute. Go back to where you came from and open this page from there again." }
            p.actions {
                @if elsewhere.is_empty() { a.button href="/login" { "Sign in" } }
                @else { a.button href=(elsewhere) rel="noreferrer" { "Go back and sign in" } }
            }
        }
    };
    visitor.page(StatusCode::GONE, Width::Card, "Link over", &content)
}
