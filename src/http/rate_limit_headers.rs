//! What an answer says of the caller's allowance: `RateLimit`, `RateLimit-Policy` and `X-RateLimit-*`.

use crate::api::verification::RateLimit;
use axum::{extract::Request, http::HeaderValue, middleware::Next, response::Response};
use std::sync::{Arc, OnceLock};

/// What the key's limit said, and when in Unix seconds, left by the handler for the headers.
#[derive(Clone, Default)]
pub struct LimitSlot(pub(crate) Arc<OnceLock<(RateLimit, i64)>>);

/// `X-RateLimit-*` (seed documents) and `RateLimit`, `RateLimit-Policy` (IETF draft) on every answer to a key.
pub async fn ratelimit_headers(mut request: Request, next: Next) -> Response {
    let slot = LimitSlot::default();
    request.extensions_mut().insert(slot.clone());
    let response = next.run(request).await;
    slot.add_to(response)
}

impl LimitSlot {
    /// The answer, with what was left here.
    pub fn add_to(&self, mut response: Response) -> Response {
        let Some((limit, now)) = self.0.get() else { return response };
        let headers = response.headers_mut();
        headers.reserve(5);
        headers.insert("x-ratelimit-limit", HeaderValue::from(limit.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(limit.remaining));
        headers.insert("x-ratelimit-reset", HeaderValue::from(limit.reset));
        let wait = (limit.reset - now).max(0);
        if let (Ok(policy), Ok(limit)) = (
            HeaderValue::from_str(&format!("\"plan\";q={};w=60", limit.limit)),
            HeaderValue::from_str(&format!("\"plan\";r={};t={wait}", limit.remaining)),
        ) {
            headers.insert("ratelimit-policy", policy);
            headers.insert("ratelimit", limit);
        }
        response
    }
}
