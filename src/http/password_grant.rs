//! `/auth/v1/*`: programs that sign in with their human's password, in the shapes those who come from another service
//! know. There only where `sessions.password_grant` is on.

use crate::{
    api::{accounts::TokenPair, error::Error},
    domain::secret::Password,
    http::{
        error::HttpError,
        extract::{
            body::JsonBody,
            client_address::ClientSource,
            credential::Presented,
            params::{Query, required},
        },
        openapi::describe::Describe,
        response::{Plain, described},
        routes::{Routes, Verb::Post},
    },
    service::{caller::Requirements, services::App},
};
use aide::{
    OperationInput, OperationOutput,
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
use std::convert::Infallible;

pub fn routes<R: Routes>() -> R {
    const TOKEN: [Error; 6] = [
        Error::Unauthorized { presented: false },
        Error::UnsupportedGrantType,
        Error::WrongPassword,
        Error::InvalidRefreshToken,
        Error::TooMany { detail: String::new(), retry_after: 60 },
        Error::Busy,
    ];
    const LOGOUT: [Error; 1] = [Error::Forbidden { detail: String::new() }];
    R::new()
        .on(Post, "/auth/v1/token", token, |op| {
            op.about("signInProgram", "A session token for an e-mail and password, or the next one").fails(&TOKEN)
        })
        .on(Post, "/auth/v1/logout", logout, |op| op.about("signOutProgram", "End the session at once").fails(&LOGOUT))
        .tagged("Sessions for programs")
}

/// The publishable key, public and no credential.
pub struct ApiKeyHeader(Option<String>);

impl<S: Sync> FromRequestParts<S> for ApiKeyHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get("apikey").map(|value| value.to_str().unwrap_or_default().to_owned())))
    }
}

impl OperationInput for ApiKeyHeader {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let apikey = json_schema!({"type": "string", "description": "The publishable key of this service: public, no credential."});
        let schema = json_schema!({"properties": {"apikey": apikey}, "required": ["apikey"]});
        let parameters = parameters_from_schema(context, schema, ParamLocation::Header);
        add_parameters(context, operation, parameters);
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct Grant {
    /// `password` or `refresh_token`.
    #[schemars(required)]
    grant_type: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub struct Credentials {
    /// For `password`.
    email: Option<String>,
    /// For `password`.
    password: Option<String>,
    /// For `refresh_token`.
    refresh_token: Option<String>,
}

/// `POST /auth/v1/token?grant_type=password` and `…=refresh_token`, with the publishable key in `apikey`.
pub async fn token(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    ApiKeyHeader(apikey): ApiKeyHeader,
    grant: Result<Query<Grant>, HttpError>,
    body: Result<JsonBody<Credentials>, HttpError>,
) -> Result<Plain<TokenPair>, HttpError> {
    let programs = app.accounts.programs(apikey.as_deref())?;
    let (Query(grant), JsonBody(body)) = (grant?, body?);
    let pair = match required("grant_type", grant.grant_type)?.as_str() {
        "password" => {
            let (email, password) = (required("email", body.email)?, required("password", body.password)?);
            programs.sign_in(&email, Password::typed(password), source).await?
        }
        "refresh_token" => programs.refresh(&required("refresh_token", body.refresh_token)?, source).await?,
        _ => return Err(Error::UnsupportedGrantType.into()),
    };
    Ok(Plain::new(pair).secret())
}

/// Nothing to say.
pub struct SignedOut;

impl IntoResponse for SignedOut {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl OperationOutput for SignedOut {
    type Inner = ();

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        vec![(Some(Status::Code(204)), described(204))]
    }
}

/// What another service's clients may ask to end beside the session.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logout {
    /// `local`: this session, which is all that ends here.
    #[schemars(extend("enum" = ["local"]))]
    scope: Option<String>,
}

/// `POST /auth/v1/logout`: ends the session whose token is presented, at once, refresh token and all.
pub async fn logout(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    asked: Result<Query<Logout>, HttpError>,
) -> Result<SignedOut, HttpError> {
    // Costs nothing: a used-up allowance must never keep a session alive.
    let caller = presented.admit(&app, &Requirements::default()).await?;
    let Query(asked) = asked?;
    if asked.scope.is_some_and(|scope| scope != "local") {
        return Err(Error::invalid(
            "scope",
            "must be \"local\": this ends the one session, sign out everywhere on the page /settings/security",
        )
        .into());
    }
    app.accounts.sign_out_program(&caller, source).await?;
    Ok(SignedOut)
}
