//! `/agent/*`: an agent registers, asks for a fresh code, picks its key up.

use super::{
    App, NO_STORE,
    body::{AnyBody, JsonBody, required},
    client::ClientSource,
    credential::Presented,
    error::Failed,
    token::key_reply,
};
use crate::{
    domain::{
        key::Environment,
        secret::{ClaimToken, CodeChallenge, PickupToken},
    },
    service::{
        Error,
        claim::{Ask, Registrant},
        verify::Need,
    },
};
use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Register {
    r#type: Option<String>,
    login_hint: Option<String>,
    agent_name: Option<String>,
    scope: Option<String>,
    environment: Option<Environment>,
    code_challenge: Option<String>,
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
async fn registrant(app: &App, presented: &Presented, source: crate::domain::source::Source) -> Result<Registrant, Failed> {
    let account = match presented.key() {
        Some(_) => Some(presented.admit(app, &Need::default()).await?.account.id),
        None => None,
    };
    Ok(Registrant { source, account })
}

/// `POST /agent/identity`
pub async fn register(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    JsonBody(body): JsonBody<Register>,
) -> Result<Response, Failed> {
    match required("type", body.r#type)?.as_str() {
        "service_auth" => {}
        _ => return Err(Error::UnsupportedType.into()),
    }
    let ask = Ask {
        agent_name: required("agent_name", body.agent_name)?,
        scopes: body.scope.map(|scope| scope.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()),
        login_hint: body.login_hint,
        environment: body.environment,
        challenge: challenge(body.code_challenge, body.code_challenge_method.as_deref())?,
        handle: None,
    };
    let who = registrant(&app, &presented, source).await?;
    let registered = app.register(ask, who).await?;
    let id = registered.registration_id;
    let scopes = registered.post_claim_scopes.clone();
    let mut body = serde_json::to_value(registered).map_err(Error::internal)?;
    // The members of the later dialect that already mean something.
    body["id"] = serde_json::json!(id);
    body["type"] = serde_json::json!("service_auth");
    body["scopes"] = serde_json::json!({"pre_claim": [], "post_claim": scopes});
    Ok((NO_STORE, Json(body)).into_response())
}

#[derive(Deserialize)]
pub struct NewAttempt {
    r#type: Option<String>,
    claim_token: Option<String>,
    login_hint: Option<String>,
    email: Option<String>,
}

/// `POST /agent/identity/claim`
pub async fn new_attempt(State(app): State<App>, JsonBody(body): JsonBody<NewAttempt>) -> Result<Response, Failed> {
    let service_auth = match body.r#type.as_deref() {
        None | Some("login_hint") => false,
        Some("service_auth") => true,
        Some(_) => return Err(Error::invalid("type", "must be \"login_hint\" or \"service_auth\"").into()),
    };
    let token = ClaimToken::parse(&required("claim_token", body.claim_token)?).ok_or(Error::InvalidClaimToken)?;
    let attempt = app.new_attempt(&token, body.login_hint.or(body.email), service_auth).await?;
    Ok((NO_STORE, Json(attempt)).into_response())
}

#[derive(Deserialize)]
pub struct Pickup {
    pickup_token: Option<String>,
}

/// `POST /agent/pickup`: the key comes to a shell, not to a model.
pub async fn pickup(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    headers: HeaderMap,
    AnyBody(body): AnyBody<Pickup>,
) -> Result<Response, Failed> {
    let token = PickupToken::parse(&required("pickup_token", body.pickup_token)?).ok_or(Error::InvalidGrant)?;
    Ok(key_reply(&headers, app.pickup(token, source).await?))
}
