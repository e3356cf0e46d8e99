//! What went wrong, in the words of each family of endpoints. A handler returns [`HttpError`]; the family's edge
//! gives it its envelope (`envelope`).

use crate::api::error::Error;
use aide::OperationOutput;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// An error on its way to the edge.
pub struct HttpError(pub Error);

impl<E: Into<Error>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// Which errors a route answers with is noted where they arise.
impl OperationOutput for HttpError {
    type Inner = ();
}
