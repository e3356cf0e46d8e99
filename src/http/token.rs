//! `/oauth2/*`: the token endpoint with the claim grant, and revocation.

use super::{
    App, accept,
    answer::{Plain, described},
    body::{AnyBody, required},
    client::ClientSource,
    credential::MaybeClient,
    error::Failed,
    no_store,
    openapi::{self, Told},
    routes::{Routes, Verb::Post},
};
use crate::{
    domain::secret::{ClaimToken, CodeVerifier},
    service::{Error, MAX_WAIT, view::Delivered},
};
use aide::{
    OperationInput, OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described, StatusCode as Status},
    operation::{ParamLocation, add_parameters, parameters_from_schema},
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, request::Parts},
    response::{IntoResponse, Response},
};
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{convert::Infallible, time::Duration};

pub const CLAIM_GRANT: &str = "urn:workos:agent-auth:grant-type:claim";

pub fn routes<R: Routes>() -> R {
    R::new()
        .on(Post, "/oauth2/token", token, |op| op.about("token", "Ask whether the human has decided, and collect the key").fails(&POLL))
        .on(Post, "/oauth2/revoke", revoke, |op| op.about("revoke", "Give a key up (RFC 7009)"))
        .tagged("Agents")
}

const POLL: [Error; 7] = [
    Error::UnsupportedGrantType,
    Error::InvalidGrant,
    Error::AuthorizationPending { interval: 5 },
    Error::SlowDown { interval: 10 },
    Error::ExpiredToken { register: false },
    Error::AccessDenied,
    Error::Conflict { detail: String::new() },
];

#[derive(Deserialize, JsonSchema)]
pub struct Token {
    #[schemars(required, extend("const" = CLAIM_GRANT))]
    grant_type: Option<String>,
    #[schemars(required)]
    claim_token: Option<String>,
    /// Beside a `code_challenge` (RFC 7636).
    code_verifier: Option<String>,
    #[serde(flatten)]
    #[schemars(skip)]
    decided: Decided,
}

/// What would ask for another key than was approved: not understood here, and not to be passed over, since the one
/// delivery would be wider than was meant. Other members are (RFC 6749 §3.2).
#[derive(Deserialize)]
struct Decided {
    scope: Option<IgnoredAny>,
    scopes: Option<IgnoredAny>,
    environment: Option<IgnoredAny>,
    expires_in: Option<IgnoredAny>,
}

impl Decided {
    fn nothing_else(&self) -> Result<(), Error> {
        let members =
            [("scope", &self.scope), ("scopes", &self.scopes), ("environment", &self.environment), ("expires_in", &self.expires_in)];
        match members.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(Error::invalid(name, "was decided with the approval: leave it out, or register for what you need")),
            None => Ok(()),
        }
    }
}

/// `POST /oauth2/token`
pub async fn token(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    PreferredWait(wait): PreferredWait,
    headers: HeaderMap,
    AnyBody(body): AnyBody<Token>,
) -> Result<KeyReply, Failed> {
    if required("grant_type", body.grant_type)? != CLAIM_GRANT {
        return Err(Error::UnsupportedGrantType.into());
    }
    body.decided.nothing_else()?;
    let token = ClaimToken::parse(&required("claim_token", body.claim_token)?);
    let verifier = body.code_verifier.map(|text| CodeVerifier::parse(&text).ok_or(Error::InvalidGrant)).transpose();
    let (Some(token), Ok(verifier)) = (token, verifier) else { return Err(Error::InvalidGrant.into()) };
    let delivered = match wait {
        Some(wait) => app.poll_until(&token, verifier.as_ref(), source, wait).await?,
        None => app.poll(&token, verifier.as_ref(), source).await?,
    };
    Ok(KeyReply::new(&headers, delivered))
}

/// `Prefer: wait=N`, RFC 7240 §4.3.
pub struct PreferredWait(Option<Duration>);

impl<S: Sync> FromRequestParts<S> for PreferredWait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let preferences = parts.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut waits = preferences.flat_map(|value| value.split(',')).filter_map(|preference| preference.trim().strip_prefix("wait="));
        let seconds = waits.next().and_then(|wait| wait.trim_matches('"').parse().ok()).filter(|seconds| *seconds > 0);
        Ok(Self(seconds.map(|seconds: u64| Duration::from_secs(seconds.min(MAX_WAIT)))))
    }
}

impl OperationInput for PreferredWait {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let prefer =
            json_schema!({"type": "string", "examples": ["wait=50"], "description": "Answer as soon as there is one (RFC 7240 §4.3)."});
        let parameters = parameters_from_schema(context, json_schema!({"properties": {"Prefer": prefer}}), ParamLocation::Header);
        add_parameters(context, operation, parameters);
    }
}

/// The delivered key: JSON, or bare for who would rather have `text/plain`. A client that would take either parses JSON,
/// and the key comes once.
pub struct KeyReply(Response);

impl KeyReply {
    pub fn new(headers: &HeaderMap, delivered: Delivered) -> Self {
        let body = if accept::prefers(headers, accept::TEXT, accept::JSON) {
            delivered.access_token.expose().to_owned().into_response()
        } else {
            Json(delivered).into_response()
        };
        Self((no_store(), body).into_response())
    }
}

impl IntoResponse for KeyReply {
    fn into_response(self) -> Response {
        self.0
    }
}

impl OperationOutput for KeyReply {
    type Inner = Delivered;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        let mut response = described(200);
        response.content.insert("application/json".to_owned(), openapi::media(openapi::answered::<Delivered>(context)));
        response.content.insert("text/plain".to_owned(), openapi::media(openapi::answered::<String>(context)));
        vec![(Some(Status::Code(200)), response)]
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct Revoke {
    #[schemars(required)]
    token: Option<String>,
}

/// Nothing more to say.
#[derive(Serialize, JsonSchema)]
pub struct Done {}

/// `POST /oauth2/revoke`, RFC 7009: 200 for unknown tokens too, 400 for what is not one token.
pub async fn revoke(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    caller: MaybeClient,
    AnyBody(body): AnyBody<Revoke>,
) -> Result<Plain<Done>, Failed> {
    caller.check(&app).await?;
    let text = required("token", body.token)?;
    app.revoke_presented(app.to_revoke(&text)?, source).await?;
    Ok(Plain::new(Done {}).secret())
}
