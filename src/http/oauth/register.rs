//! `POST /oauth2/register` (RFC 7591): where the SDKs of MCP turn after a 401, whose own words they throw away. What is
//! said here is what their users read.

use crate::{
    api::error::Error,
    http::{
        error::HttpError,
        openapi::describe::Describe,
        response::Plain,
        routes::{Routes, Verb::Post},
    },
    service::services::App,
};
use axum::extract::State;
use serde_json::{Map, Value};

/// `register_agent` needs no key, but a wrong one lets nobody in.
pub const NOT_VALID: &str =
    "the presented key is not valid: take it out of this connection (unset COUNTERSIGN_API_KEY), connect again and register for another";

pub fn routes<R: Routes>() -> R {
    let refused = [Error::Forbidden { detail: NOT_VALID.to_owned() }];
    R::new()
        .on(Post, "/oauth2/register", register, |op| {
            op.about("registerClient", "Clients are not registered: says to one whose key was refused what to do (RFC 7591)")
                .fails(&refused)
        })
        .tagged("Discovery")
}

/// Nobody is registered, whatever they send.
async fn register(State(_): State<App>) -> Result<Plain<Map<String, Value>>, HttpError> {
    Err(Error::Forbidden { detail: NOT_VALID.to_owned() }.into())
}
