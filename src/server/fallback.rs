//! What is answered where no route is, or not for this method.

use crate::{api::error::Error, http::error::HttpError, service::services::App};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};

/// Browsers get a page, programs the envelope.
pub async fn no_route(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if crate::server::guard::wants_page(&parts.headers) {
        crate::web::error_page::error_page(&app, &parts, &Error::NoRoute)
    } else {
        HttpError(Error::NoRoute).into_response()
    }
}

pub async fn method_not_allowed() -> HttpError {
    HttpError(Error::MethodNotAllowed)
}
