//! `/agent/*`: an agent registers, asks for a fresh code, picks its key up.

use crate::{
    api::{
        claims::{NewAttempt, Registered},
        error::Error,
    },
    domain::{
        environment::Environment,
        id::RegistrationId,
        pkce::CodeChallenge,
        scope::ScopeSet,
        secret::{ClaimToken, PickupToken},
        source::Source,
    },
    http::{
        error::HttpError,
        extract::{
            body::{AnyBody, JsonBody},
            client_address::ClientSource,
            credential::Presented,
            members::Words,
            params::required,
        },
        key_response::KeyReply,
        openapi::describe::Describe,
        response::Plain,
        routes::{Routes, Verb::Post},
    },
    service::{
        caller::Requirements,
        claims::register::{NewRegistration, Registrant},
        services::App,
    },
};
use axum::{extract::State, http::HeaderMap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub fn routes<R: Routes>() -> R {
    let too_many = Error::TooMany { detail: "too many registrations from this address".to_owned(), retry_after: 360 };
    let available = ScopeSet::default();
    let no_scope = Error::invalid_scope("none of these scopes is available to agents", available);
    R::new()
        .on(Post, "/agent/identity", register, |op| {
            let errors = [Error::UnsupportedType, Error::InvalidLoginHint, no_scope, too_many];
            op.about("register", "Ask for access").key_is_optional().fails(&errors)
        })
        .on(Post, "/agent/identity/claim", new_attempt, |op| {
            op.about("newAttempt", "A fresh code; the old one is dead at once").fails(&NEW_ATTEMPT)
        })
        .on(Post, "/agent/pickup", pickup, |op| op.about("pickup", "Collect the key with a pickup token").fails(&[Error::InvalidGrant]))
        .tagged("Agents")
}

const NEW_ATTEMPT: [Error; 4] = [
    Error::InvalidClaimToken,
    Error::ClaimedOrInFlight { already: false },
    Error::ClaimExpired,
    Error::TooManyAttempts { retry_after: Some(10) },
];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    #[schemars(required, extend("const" = "service_auth"))]
    r#type: Option<String>,
    /// The human's e-mail. It grants nothing.
    #[schemars(extend("examples" = ["user@example.com"]))]
    login_hint: Option<String>,
    /// Shown to the human as self-declared.
    #[schemars(required, length(min = 1, max = 64), extend("examples" = ["Claude"]))]
    agent_name: Option<String>,
    /// Space-delimited, or a list; the least set unless told.
    #[schemars(extend("examples" = ["audience:read email:send"]))]
    scope: Option<Words>,
    #[schemars(skip)]
    scopes: Option<Words>,
    environment: Option<Environment>,
    /// RFC 7636, so that a lost reply loses no key.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{43}$"))]
    code_challenge: Option<String>,
    /// `S256`, beside a challenge.
    code_challenge_method: Option<String>,
}

/// RFC 7636 §4.3, S256 only: a missing method would mean `plain`.
fn challenge(challenge: Option<String>, method: Option<&str>) -> Result<Option<CodeChallenge>, Error> {
    match (challenge, method) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::invalid("code_challenge", "is missing beside `code_challenge_method`")),
        (Some(text), Some("S256")) => match CodeChallenge::parse(&text) {
            Some(challenge) => Ok(Some(challenge)),
            None => Err(Error::invalid("code_challenge", "must be 43 base64url characters, the SHA-256 of the verifier")),
        },
        (Some(_), _) => Err(Error::invalid("code_challenge_method", "must be \"S256\"")),
    }
}

/// Who registers: counted by the account of a presented key, else by address.
async fn registrant(app: &App, presented: &Presented, source: Source) -> Result<Registrant, HttpError> {
    let account = match presented.key() {
        Some(_) => Some(presented.admit(app, &Requirements::default()).await?.account.id),
        None => None,
    };
    Ok(Registrant { source, account })
}

/// The registration, and the members of the later dialect that already mean something.
#[derive(Serialize, JsonSchema)]
pub struct Registration {
    #[serde(flatten)]
    registered: Registered,
    id: RegistrationId,
    r#type: &'static str,
    scopes: ClaimScopes,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ClaimScopes {
    pre_claim: ScopeSet,
    post_claim: ScopeSet,
}

/// `POST /agent/identity`
pub async fn register(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    JsonBody(body): JsonBody<Register>,
) -> Result<Plain<Registration>, HttpError> {
    match required("type", body.r#type)?.as_str() {
        "service_auth" => {}
        _ => return Err(Error::UnsupportedType.into()),
    }
    if body.scope.is_some() && body.scopes.is_some() {
        return Err(Error::invalid("scopes", "is `scope` by another name: send one of them").into());
    }
    let called = if body.scopes.is_some() { "scopes" } else { "scope" };
    let ask = NewRegistration {
        agent_name: required("agent_name", body.agent_name)?,
        scopes: body.scope.or(body.scopes).map(|Words(words)| words),
        login_hint: body.login_hint,
        environment: body.environment,
        challenge: challenge(body.code_challenge, body.code_challenge_method.as_deref())?,
        handle: None,
    };
    let who = registrant(&app, &presented, source).await?;
    let registered = app.claims.register(ask, who).await.map_err(|error| error.called("scope", called))?;
    let scopes = ClaimScopes { pre_claim: ScopeSet::default(), post_claim: registered.post_claim_scopes.clone() };
    Ok(Plain::new(Registration { id: registered.registration_id, r#type: "service_auth", scopes, registered }).secret())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskAttempt {
    #[schemars(extend("enum" = ["login_hint", "service_auth", null]))]
    r#type: Option<String>,
    #[schemars(required)]
    claim_token: Option<String>,
    login_hint: Option<String>,
    email: Option<String>,
}

/// `POST /agent/identity/claim`
pub async fn new_attempt(State(app): State<App>, JsonBody(body): JsonBody<AskAttempt>) -> Result<Plain<NewAttempt>, HttpError> {
    let service_auth = match body.r#type.as_deref() {
        None | Some("login_hint") => false,
        Some("service_auth") => true,
        Some(_) => return Err(Error::invalid("type", "must be \"login_hint\" or \"service_auth\"").into()),
    };
    if body.login_hint.is_some() && body.email.is_some() {
        return Err(Error::invalid("email", "is `login_hint` by another name: send one of them").into());
    }
    let token = ClaimToken::parse(&required("claim_token", body.claim_token)?).ok_or(Error::InvalidClaimToken)?;
    let attempt = app.claims.new_attempt(&token, body.login_hint.or(body.email), service_auth).await?;
    Ok(Plain::new(attempt).secret())
}

#[derive(Deserialize, JsonSchema)]
pub struct Pickup {
    #[schemars(required)]
    pickup_token: Option<String>,
}

/// `POST /agent/pickup`: the key comes to a shell, not to a model.
pub async fn pickup(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    headers: HeaderMap,
    AnyBody(body): AnyBody<Pickup>,
) -> Result<KeyReply, HttpError> {
    let token = PickupToken::parse(&required("pickup_token", body.pickup_token)?).ok_or(Error::InvalidGrant)?;
    Ok(KeyReply::new(&headers, app.claims.pickup(token, source).await?))
}
