//! Whether we live, and whether we are ready.

use super::{App, answer::Plain, error::Failed, openapi::Told};
use crate::service::Error;
use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

pub fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route("/healthz", get_with(healthz, |op| op.about("healthz", "The process answers")))
        .api_route("/readyz", get_with(readyz, |op| op.about("readyz", "The store can be reached and nothing is being shut down")))
        .with_path_items(|item| item.tag("Health"))
}

#[derive(Serialize, JsonSchema)]
pub struct Health {
    status: &'static str,
}

async fn healthz() -> Plain<Health> {
    Plain::new(Health { status: "ok" })
}

async fn readyz(State(app): State<App>) -> Result<Plain<Health>, Failed> {
    if app.ready().await { Ok(Plain::new(Health { status: "ready" })) } else { Err(Error::Unavailable.into()) }
}
