//! `/auth/v1/*`: programs that sign in with their human's password, in the shapes those who come from another service
//! know. There only where `sessions.password_grant` is on.

use super::{
    App, NO_STORE,
    body::{JsonBody, required},
    client::ClientSource,
    credential::Presented,
    error::Failed,
    keys::query,
};
use crate::{
    domain::secret::Password,
    service::{Error, verify::Need},
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;

/// Nothing, where the configuration does not let programs sign in.
pub fn router(app: &App) -> Router<App> {
    if app.publishable_key().is_none() {
        return Router::new();
    }
    Router::new().route("/auth/v1/token", post(token)).route("/auth/v1/logout", post(logout))
}

#[derive(Deserialize)]
pub struct Grant {
    grant_type: Option<String>,
}

#[derive(Deserialize)]
pub struct Credentials {
    email: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
}

/// `POST /auth/v1/token?grant_type=password` and `…=refresh_token`, with the publishable key in `apikey`.
pub async fn token(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    headers: HeaderMap,
    uri: Uri,
    body: Result<JsonBody<Credentials>, Failed>,
) -> Result<Response, Failed> {
    let apikey = headers.get("apikey").map(|value| value.to_str().unwrap_or_default());
    let programs = app.programs(apikey)?;
    let grant: Grant = query(&uri)?;
    let grant = required("grant_type", grant.grant_type)?;
    let JsonBody(body) = body?;
    let pair = match grant.as_str() {
        "password" => {
            let (email, password) = (required("email", body.email)?, required("password", body.password)?);
            programs.sign_in(&email, Password::typed(password), source).await?
        }
        "refresh_token" => programs.refresh(&required("refresh_token", body.refresh_token)?, source).await?,
        _ => return Err(Error::UnsupportedGrantType.into()),
    };
    Ok((NO_STORE, Json(pair)).into_response())
}

/// `POST /auth/v1/logout`: ends the session whose token is presented, at once, refresh token and all.
pub async fn logout(State(app): State<App>, ClientSource(source): ClientSource, presented: Presented) -> Result<Response, Failed> {
    // Costs nothing: a used-up allowance must never keep a session alive.
    let caller = presented.admit(&app, &Need::default()).await?;
    app.sign_out_program(&caller, source).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
