//! `/v1/whoami` and the example resource.

use crate::{
    api::verification::Whoami,
    http::{error::HttpError, extract::credential::Presented, response::Success},
    service::{caller::Requirements, services::App},
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

/// `GET /v1/whoami`
pub async fn whoami(State(app): State<App>, presented: Presented) -> Result<Success<Whoami>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call()).await?;
    Ok(Success::new(&app, app.keys.whoami(&caller).await?))
}

/// Nothing, in the shape of a list.
#[derive(Serialize, JsonSchema)]
pub struct Projects {
    projects: [ProjectView; 0],
    total: u32,
}

#[derive(Serialize, JsonSchema)]
struct ProjectView {}

/// `GET /v1/projects`: an example of a protected resource, where `environment` is enforced.
pub async fn projects(State(app): State<App>, presented: Presented) -> Result<Success<Projects>, HttpError> {
    presented.admit(&app, &Requirements::call().in_environment(app.context.config.environment)).await?;
    Ok(Success::new(&app, Projects { projects: [], total: 0 }))
}
