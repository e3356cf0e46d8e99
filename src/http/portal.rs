//! `POST /v1/portal_sessions`: a service brings its own user.

use super::{
    App,
    answer::Success,
    body::{OperatorBody, required},
    credential::Presented,
    error::Failed,
    openapi::Told,
    routes::{Routes, Verb::Post},
};
use crate::{
    domain::scope::KEYS_WRITE,
    service::{Error, portal::Visit, verify::Need, view::PortalOpened},
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
pub struct Open {
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
    body: Result<OperatorBody<Open>, Failed>,
) -> Result<Success<PortalOpened, 201>, Failed> {
    let caller = presented.admit(&app, &Need::call().scope(KEYS_WRITE)).await?;
    let OperatorBody(body) = body?;
    let visit = Visit {
        external_id: required("external_id", body.external_id)?,
        email: required("email", body.email)?,
        email_verified: body.email_verified.unwrap_or(false),
        plan: body.plan,
        return_to: body.return_to,
    };
    Ok(Success::new(&app, app.open_portal(&caller, visit).await?).secret())
}
