//! `/oauth2/*`: the token endpoint with the claim grant, and revocation.

use super::{
    App, NO_STORE,
    body::{AnyBody, required},
    client::ClientSource,
    error::Failed,
};
use crate::{
    domain::secret::{ClaimToken, CodeVerifier},
    service::{Error, MAX_WAIT, view::Delivered},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::time::Duration;

pub const CLAIM_GRANT: &str = "urn:workos:agent-auth:grant-type:claim";

#[derive(Deserialize)]
pub struct Token {
    grant_type: Option<String>,
    claim_token: Option<String>,
    code_verifier: Option<String>,
}

/// `POST /oauth2/token`
pub async fn token(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    headers: HeaderMap,
    AnyBody(body): AnyBody<Token>,
) -> Result<Response, Failed> {
    if required("grant_type", body.grant_type)? != CLAIM_GRANT {
        return Err(Error::UnsupportedGrantType.into());
    }
    let token = ClaimToken::parse(&required("claim_token", body.claim_token)?);
    let verifier = body.code_verifier.map(|text| CodeVerifier::parse(&text).ok_or(Error::InvalidGrant)).transpose();
    let (Some(token), Ok(verifier)) = (token, verifier) else { return Err(Error::InvalidGrant.into()) };
    let delivered = match preferred_wait(&headers) {
        Some(wait) => app.poll_until(&token, verifier.as_ref(), source, wait).await?,
        None => app.poll(&token, verifier.as_ref(), source).await?,
    };
    Ok(key_reply(&headers, delivered))
}

/// `Prefer: wait=N`, RFC 7240 §4.3.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let wait = preferences.flat_map(|value| value.split(',')).find_map(|preference| preference.trim().strip_prefix("wait="))?;
    let seconds: u64 = wait.trim_matches('"').parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(MAX_WAIT)))
}

/// The delivered key: JSON, or bare for `Accept: text/plain`.
pub fn key_reply(headers: &HeaderMap, delivered: Delivered) -> Response {
    let plain = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.starts_with("text/plain"));
    if plain { (NO_STORE, delivered.access_token.expose().to_owned()).into_response() } else { (NO_STORE, Json(delivered)).into_response() }
}

#[derive(Deserialize)]
pub struct Revoke {
    token: Option<String>,
}

/// `POST /oauth2/revoke`, RFC 7009: 200 for unknown tokens too.
pub async fn revoke(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    AnyBody(body): AnyBody<Revoke>,
) -> Result<Response, Failed> {
    app.revoke_presented(&required("token", body.token)?, source).await?;
    Ok((NO_STORE, Json(serde_json::json!({}))).into_response())
}
