//! `/oauth2/*`: the token endpoint with the claim grant, and revocation.

use crate::{
    api::error::Error,
    domain::{
        grant_type::CLAIM_GRANT,
        secret::{ClaimToken, CodeVerifier},
    },
    http::{
        error::HttpError,
        extract::{body::AnyBody, client_address::ClientSource, params::required, prefer_wait::PreferredWait},
        key_response::KeyReply,
        oauth::revoke::revoke,
        openapi::describe::Describe,
        routes::{Routes, Verb::Post},
    },
    service::services::App,
};
use axum::{extract::State, http::HeaderMap};
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

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
) -> Result<KeyReply, HttpError> {
    if required("grant_type", body.grant_type)? != CLAIM_GRANT {
        return Err(Error::UnsupportedGrantType.into());
    }
    body.decided.nothing_else()?;
    let token = ClaimToken::parse(&required("claim_token", body.claim_token)?);
    let verifier = body.code_verifier.map(|text| CodeVerifier::parse(&text).ok_or(Error::InvalidGrant)).transpose();
    let (Some(token), Ok(verifier)) = (token, verifier) else { return Err(Error::InvalidGrant.into()) };
    let delivered = match wait {
        Some(wait) => app.claims.poll_until(&token, verifier.as_ref(), source, wait).await?,
        None => app.claims.poll(&token, verifier.as_ref(), source).await?,
    };
    Ok(KeyReply::new(&headers, delivered))
}
