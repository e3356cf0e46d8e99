//! `POST /v1/portal_sessions`: a service brings its own user.

use crate::{
    api::{accounts::PortalOpened, error::Error},
    domain::scope::KEYS_WRITE,
    http::{
        error::HttpError,
        extract::{body::OperatorBody, credential::Presented, params::required},
        openapi::describe::Describe,
        response::Success,
        routes::{Routes, Verb::Post},
    },
    service::{accounts::portal::PortalUser, caller::Requirements, services::App},
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

pub fn routes<R: Routes>() -> R {
    let refusals = [Error::Forbidden { detail: "portal sessions take a key of an operator account".to_owned() }, taken()];
    R::new()
        .on(Post, "/v1/portal_sessions", open, |op| {
            op.about("openPortalSession", "Sign a user of your service in, once, within a minute").needs(KEYS_WRITE).fails(&refusals)
        })
        .tagged("Operators")
}

fn taken() -> Error {
    Error::Conflict { detail: "the e-mail belongs to another account".to_owned() }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenPortal {
    /// Your own name of the user: 1 to 128 visible ASCII characters without spaces.
    #[schemars(required, length(min = 1, max = 128), regex(pattern = "^[!-~]+$"))]
    external_id: Option<String>,
    #[schemars(required)]
    email: Option<String>,
    /// Whether you have verified the address. Unless both sides have, it never leads to an account that is there.
    email_verified: Option<bool>,
    /// A plan of the configuration; left out: as it is.
    plan: Option<String>,
    /// A path on this server; `/settings/keys` unless told.
    return_to: Option<String>,
}

/// `POST /v1/portal_sessions`
pub async fn open(
    State(app): State<App>,
    presented: Presented,
    body: Result<OperatorBody<OpenPortal>, HttpError>,
) -> Result<Success<PortalOpened, 201>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call().scope(KEYS_WRITE)).await?;
    let OperatorBody(body) = body?;
    let visit = PortalUser {
        external_id: required("external_id", body.external_id)?,
        email: required("email", body.email)?,
        email_verified: body.email_verified.unwrap_or(false),
        plan: body.plan,
        return_to: body.return_to,
    };
    Ok(Success::new(&app, app.accounts.open_portal(&caller, visit).await?).secret())
}
