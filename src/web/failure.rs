//! An error on its way to becoming a page.

use crate::{api::error::Error, web::error_text::explain};
use axum::response::{IntoResponse, Response};

/// An error on its way out of a handler; the layer around all pages puts it into words.
#[derive(Debug, Clone)]
pub struct PageError(pub Error);

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = explain(&self.0).status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What handlers answer.
pub type PageResult = Result<Response, PageError>;
