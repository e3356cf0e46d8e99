//! The JWTs programs carry for their sessions: how they are signed and read. What they say is not believed by itself;
//! the session they name is looked up at each use ([`session_token`](crate::service::verification::session_token)).

use crate::domain::{
    id::{AccountId, ProgramSessionId},
    program_session::ProgramSession,
    scope::ScopeSet,
    secret::AccessToken,
    server_secret::ServerSecret,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    errors::Error,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroizing;

/// RFC 9068 §2.1: tells an access token from every other JWT of this issuer.
const TYPE: &str = "at+jwt";

/// PKCS#8 of an Ed25519 seed is this and the seed (RFC 8410 §7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: AccountId,
    sid: ProgramSessionId,
    iat: i64,
    exp: i64,
    jti: String,
}

/// Signs and reads session tokens of one issuer for one audience.
pub struct SessionTokens {
    signs: EncodingKey,
    reads: DecodingKey,
    /// The public half (RFC 7517, RFC 8037).
    pub jwk: Jwk,
    header: Header,
    validation: Validation,
    issuer: String,
    audience: String,
    /// What a program does not present is not spoken to; public, and no credential.
    pub publishable_key: String,
    /// What a session may: all its human may.
    pub scopes: Arc<ScopeSet>,
}

impl SessionTokens {
    /// The keys and rules of this deployment's tokens. `scopes` is what a session may do, which is all its human may.
    ///
    /// # Errors
    /// When the library of JWTs does not take the derived Ed25519 key, which no input can bring about.
    pub fn new(secret: &ServerSecret, issuer: &str, audience: &str, publishable_key: String, scopes: ScopeSet) -> Result<Self, Error> {
        let der = Zeroizing::new([PKCS8.as_slice(), secret.session_signing_seed().as_slice()].concat());
        let signs = EncodingKey::from_ed_der(&der);
        let mut jwk = Jwk::from_encoding_key(&signs, Algorithm::EdDSA)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // By our own clock, below.
        validation.validate_exp = false;
        Ok(Self {
            reads: DecodingKey::from_jwk(&jwk)?,
            header: Header { typ: Some(TYPE.to_owned()), kid: Some(kid), ..Header::new(Algorithm::EdDSA) },
            signs,
            jwk,
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            publishable_key,
            scopes: Arc::new(scopes),
        })
    }

    /// A token of [`ProgramSession::ACCESS_TTL_SECONDS`]; `random` is its `jti` (RFC 7519 §4.1.7), so that no two are alike.
    pub fn sign(&self, session: &ProgramSession, now: Timestamp, random: [u8; 16]) -> Result<AccessToken, Error> {
        let iat = now.as_second();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: session.account,
            sid: session.id,
            iat,
            exp: iat + ProgramSession::ACCESS_TTL_SECONDS,
            jti: URL_SAFE_NO_PAD.encode(random),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signs).map(AccessToken::signed)
    }

    /// Whose session a presented token speaks of. `None`: it is not ours, not for here, no access token, or over.
    pub fn read(&self, token: &AccessToken, now: Timestamp) -> Option<(ProgramSessionId, AccountId)> {
        let read = jsonwebtoken::decode::<Claims>(token.expose(), &self.reads, &self.validation).ok()?;
        let good = read.header.typ.as_deref() == Some(TYPE) && now.as_second() < read.claims.exp;
        good.then_some((read.claims.sid, read.claims.sub))
    }
}
