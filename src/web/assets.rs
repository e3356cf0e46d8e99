//! Style sheet and mark, compiled in and served under names that change with them.

use crate::http::shared_body::Shared;
use axum::{
    Extension,
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use std::sync::LazyLock;

/// The stylesheet's address names its content, so that it can be cached for ever.
pub static STYLE_URL: LazyLock<String> = LazyLock::new(|| format!("/style.css?v={}", &blake3::hash(STYLE.as_bytes()).to_hex()[..12]));

pub async fn style() -> Response {
    asset("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes()))
}

pub async fn mark() -> Response {
    asset("image/svg+xml", Bytes::from_static(MARK.as_bytes()))
}

/// Something that is in memory once.
pub fn asset(content_type: &'static str, bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "public, max-age=86400"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    (headers, Extension(Shared(bytes.len())), bytes).into_response()
}

pub const STYLE: &str = include_str!("style.css");

pub const MARK: &str = include_str!("mark.svg");
