//! `/auth/v1/*`: programs that sign in with their human's password, in the shapes those who come from another service
//! know. There only where `sessions.password_grant` is on.

use super::{
    App, NO_STORE,
    answer::{Plain, described},
    body::{JsonBody, Query, required},
    client::ClientSource,
    credential::Presented,
    error::Failed,
    openapi::Told,
};
use crate::{
    domain::secret::Password,
    service::{Error, program_sessions::TokenPair, verify::Need},
};
use aide::{
    OperationInput, OperationOutput,
    axum::{ApiRouter, routing::post_with},
    generate::GenContext,
    openapi::{Operation, Response as Described, StatusCode as Status},
    operation::{ParamLocation, add_parameters, parameters_from_schema},
};
use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;

pub fn routes() -> ApiRouter<App> {
    let wait = Error::TooMany { detail: "too many attempts to sign in: wait a quarter of an hour".to_owned(), retry_after: 900 };
    let failures = [Error::Unauthorized { presented: false }, Error::WrongPassword, Error::UnsupportedGrantType, Error::Busy, wait];
    ApiRouter::new()
        .api_route("/auth/v1/token", post_with(token, |op| op.about("token", "Sign in for an hour, or refresh").fails(&failures)))
        .api_route("/auth/v1/logout", post_with(logout, |op| op.about("logout", "End the session whose token this is")))
        .with_path_items(|item| item.tag("Sessions"))
}

/// The publishable key, as it was sent.
pub struct ApiKeyHeader(Option<String>);

impl FromRequestParts<App> for ApiKeyHeader {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failed> {
        Ok(Self(parts.headers.get("apikey").map(|value| value.to_str().unwrap_or_default().to_owned())))
    }
}

impl OperationInput for ApiKeyHeader {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let schema = json_schema!({
            "properties": {"apikey": {"type": "string", "description": "The publishable key: public, names the service, proves nothing."}},
            "required": ["apikey"],
        });
        let parameters = parameters_from_schema(context, schema, ParamLocation::Header);
        add_parameters(context, operation, parameters);
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct Grant {
    #[schemars(required, extend("enum" = ["password", "refresh_token"]))]
    grant_type: Option<String>,
}

/// `email` and `password`, or `refresh_token`.
#[derive(Deserialize, JsonSchema)]
pub struct Credentials {
    email: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
}

/// `POST /auth/v1/token?grant_type=password` and `…=refresh_token`, with the publishable key in `apikey`.
pub async fn token(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    ApiKeyHeader(apikey): ApiKeyHeader,
    grant: Result<Query<Grant>, Failed>,
    body: Result<JsonBody<Credentials>, Failed>,
) -> Result<Plain<TokenPair>, Failed> {
    let programs = app.programs(apikey.as_deref())?;
    let Query(grant) = grant?;
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
    Ok(Plain::new(pair).secret())
}

/// Done, and nothing to say.
pub struct Ended;

impl IntoResponse for Ended {
    fn into_response(self) -> Response {
        (NO_STORE, StatusCode::NO_CONTENT).into_response()
    }
}

impl OperationOutput for Ended {
    type Inner = ();

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        vec![(Some(Status::Code(204)), described(204))]
    }
}

/// `POST /auth/v1/logout`: ends the session whose token is presented, at once, refresh token and all.
pub async fn logout(State(app): State<App>, ClientSource(source): ClientSource, presented: Presented) -> Result<Ended, Failed> {
    // Costs nothing: a used-up allowance must never keep a session alive.
    let caller = presented.admit(&app, &Need::default()).await?;
    app.sign_out_program(&caller, source).await?;
    Ok(Ended)
}
