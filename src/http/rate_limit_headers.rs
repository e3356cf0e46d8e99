//! What an answer says of the caller's allowance: `RateLimit`, `RateLimit-Policy` and `X-RateLimit-*`.

use crate::api::verification::RateLimit;
use axum::{http::HeaderValue, response::Response};
use std::sync::{Arc, OnceLock};

/// What the key's limit said, and when in Unix seconds, left by the handler for the headers.
#[derive(Clone, Default)]
pub struct LimitSlot(pub(crate) Arc<OnceLock<(RateLimit, i64)>>);

impl LimitSlot {
    /// The answer, with what was left here: `X-RateLimit-*` (seed documents) and `RateLimit`, `RateLimit-Policy` (IETF draft) on
    /// every answer to a key.
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
