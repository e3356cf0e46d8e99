//! The service's own colour and logo, from our own origin.

use crate::{config::brand::Shades, service::services::App, web::assets};
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};

/// A picture and nothing else: opened by itself it runs nothing and loads nothing.
const PICTURE: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Addresses that name their content, so that it can be cached.
fn versioned(path: &str, content: &[u8]) -> String {
    format!("{path}?v={}", &blake3::hash(content).to_hex()[..12])
}

/// Where the logo is: the service's, or our mark.
pub fn logo_url(app: &App) -> String {
    app.context.config.brand.logo.as_ref().map_or_else(|| "/mark.svg".to_owned(), |logo| versioned("/logo", &logo.bytes))
}

/// The stylesheet with the service's colour, where it has one.
pub fn style_url(app: &App) -> Option<String> {
    style(app).map(|style| versioned("/brand.css", style.as_bytes()))
}

fn style(app: &App) -> Option<String> {
    let accent = app.context.config.brand.colours?;
    let set = |Shades { accent, ink, over }| format!(":root {{ --accent: {accent}; --accent-ink: {ink}; --accent-over: {over}; }}\n");
    Some(format!("{}@media (prefers-color-scheme: dark) {{\n{}}}\n", set(accent.light), set(accent.dark)))
}

pub async fn brand_css(State(app): State<App>) -> Response {
    assets::asset("text/css; charset=utf-8", style(&app).unwrap_or_default().into())
}

pub async fn logo(State(app): State<App>) -> Response {
    let Some(logo) = app.context.config.brand.logo.clone() else { return assets::mark().await };
    let mut response = assets::asset(logo.content_type, Bytes::from_owner(logo.bytes));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PICTURE));
    response
}
