//! What went wrong, in words for humans: the pages' table of [`Error`], and the page that shows it.

use crate::{
    api::error::Error,
    service::services::App,
    web::{
        error_text::{ErrorText, NextLink, explain},
        layout::Width,
        security_headers::guarded,
        session::Visitor,
    },
};
use axum::{
    http::{HeaderValue, header, request::Parts},
    response::Response,
};
use maud::{Markup, html};

/// `Retry-After`, where waiting helps.
pub fn with_retry_after(mut response: Response, error: &Error) -> Response {
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The page for an error no form can show.
pub fn show(visitor: &Visitor, error: &Error) -> Response {
    let ErrorText { status, title, advice, next, .. } = explain(error);
    let content = html! {
        section.panel {
            h1 { (title) }
            p { (advice) }
            (way_forward(visitor, next))
        }
    };
    with_retry_after(visitor.page(status, Width::Card, title, &content), error)
}

fn way_forward(visitor: &Visitor, next: NextLink) -> Markup {
    let (href, label) = match next {
        NextLink::SignIn => (visitor.sign_in_url(), "Sign in"),
        NextLink::EnterCode => ("/claim".to_owned(), "Enter a code"),
        NextLink::Decision => (format!("{}/done", visitor.path), "See what was decided"),
        NextLink::Start if visitor.signed_in.is_some() => ("/settings/keys".to_owned(), "Your keys"),
        NextLink::Start => ("/".to_owned(), "Start page"),
    };
    html! { p.actions { a.button href=(href) { (label) } } }
}

/// The same page for whatever is refused before a page is reached.
pub fn error_page(app: &App, parts: &Parts, error: &Error) -> Response {
    guarded(show(&Visitor::nobody(app, parts), error))
}
