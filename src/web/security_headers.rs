//! The headers that every page carries: what it may load, and where it may be shown.

use crate::web::layout::HEADERS;
use axum::{http::HeaderValue, response::Response};

/// The headers every page has.
pub fn guarded(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
