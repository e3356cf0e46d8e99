//! What is done around every page.

use crate::{
    api::error::Error,
    service::services::App,
    web::{error_page, failure::PageError, form, security_headers::guarded, session::Visitor},
};
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Around every page: who is looking, whether a form is ours, the words for what went wrong, the headers.
pub async fn dress(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (visitor, refused) = match Visitor::of(&app, &parts).await {
        Ok(visitor) => {
            (visitor, (!form::is_ours(&parts.method, &parts.headers, &app.context.config.pages_url)).then_some(Error::ForeignForm))
        }
        Err(error) => (Visitor::nobody(&app, &parts), Some(error)),
    };
    parts.extensions.insert(visitor.clone());
    let response = match refused {
        Some(error) => PageError(error).into_response(),
        None => next.run(Request::from_parts(parts, body)).await,
    };
    let mut response = in_words(&visitor, response);
    visitor.greet(&mut response);
    guarded(response)
}

/// Turns a failure, ours or the router's, into a page.
fn in_words(visitor: &Visitor, response: Response) -> Response {
    if let Some(PageError(error)) = response.extensions().get::<PageError>() {
        return error_page::show(visitor, error);
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        let mut page = error_page::show(visitor, &Error::MethodNotAllowed);
        if let Some(allow) = allow {
            page.headers_mut().insert(header::ALLOW, allow);
        }
        return page;
    }
    let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    if response.status().is_client_error() && !is_page {
        return error_page::show(visitor, &Error::Malformed { detail: "the address can't be read".to_owned() });
    }
    response
}
