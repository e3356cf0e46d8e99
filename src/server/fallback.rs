//! What is answered where no route is, or not for this method.

use crate::{api::error::Error, http::error::HttpError, server::guard::wants_page, service::services::App, web::error_page::error_page};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};

/// Browsers get a page, programs the envelope.
pub async fn no_route(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if wants_page(&parts.headers) { error_page(&app, &parts, &Error::NoRoute) } else { HttpError(Error::NoRoute).into_response() }
}

/// For a path that exists with other methods.
pub async fn method_not_allowed() -> HttpError {
    HttpError(Error::MethodNotAllowed)
}
