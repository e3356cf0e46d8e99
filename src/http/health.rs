//! Whether we live, and whether we are ready.

use crate::{
    api::error::Error,
    http::{
        error::HttpError,
        openapi::describe::Describe,
        response::Plain,
        routes::{Routes, Verb::Get},
    },
    service::services::App,
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

pub fn routes<R: Routes>() -> R {
    R::new()
        .on(Get, "/healthz", healthz, |op| op.about("healthz", "The process answers"))
        .on(Get, "/readyz", readyz, |op| op.about("readyz", "The store can be reached and nothing is being shut down"))
        .tagged("Health")
}

#[derive(Serialize, JsonSchema)]
pub struct Health {
    status: &'static str,
}

async fn healthz() -> Plain<Health> {
    Plain::new(Health { status: "ok" })
}

async fn readyz(State(app): State<App>) -> Result<Plain<Health>, HttpError> {
    if app.ready().await { Ok(Plain::new(Health { status: "ready" })) } else { Err(Error::Unavailable.into()) }
}
