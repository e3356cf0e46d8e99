//! Whether a program may ask by the host it names. It keeps out pages that a browser was led to by DNS rebinding.

use crate::{
    http::extract::{
        credential::presented,
        host::{Named, is_further, is_published, named_host},
    },
    service::services::App,
};
use axum::http::{HeaderMap, uri::Uri};

/// Whether a program may ask this: by a name of ours, or by whatever name with a key of its own. A page that a browser was
/// lured to (DNS rebinding) has none, and would be somebody on this computer without it.
pub fn may_ask(app: &App, headers: &HeaderMap, address: &Uri) -> bool {
    match named_host(headers, address) {
        Named::One(host) if is_published(app, host) || is_further(app, host) => true,
        Named::Unclear => false,
        Named::One(_) | Named::Nothing => matches!(presented(headers, app.context.config.auth.extra_headers), Ok(Some(_))),
    }
}
