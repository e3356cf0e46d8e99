//! What verification, introspection and `whoami` answer.

use crate::{
    api::{keys::KeyView, values::Time},
    domain::{
        environment::Environment,
        id::{AccountId, KeyId, ProgramSessionId, RegistrationId},
        scope::ScopeSet,
        usage::Refusal,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a limit stands. `reset` is in Unix seconds, `retry_after` in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per minute.
    pub limit: u32,
    /// Requests left now.
    pub remaining: u32,
    /// Unix seconds at which all of the limit is there again.
    pub reset: i64,
    /// Seconds to wait, once the limit is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// What the verification of a key found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    Valid,
    NotFound,
    Revoked,
    Expired,
    Disabled,
    InsufficientScope,
    WrongEnvironment,
    RateLimited,
}

impl Code {
    /// What a known key was refused for, if it was.
    pub const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Valid | Self::NotFound => None,
            Self::Revoked => Some(Refusal::Revoked),
            Self::Expired => Some(Refusal::Expired),
            Self::Disabled => Some(Refusal::Disabled),
            Self::InsufficientScope => Some(Refusal::InsufficientScope),
            Self::WrongEnvironment => Some(Refusal::WrongEnvironment),
            Self::RateLimited => Some(Refusal::RateLimited),
        }
    }
}

/// What `POST /v1/keys/verify` answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    pub valid: bool,
    pub code: Code,
    pub key_id: Option<KeyId>,
    pub account_id: Option<AccountId>,
    pub external_id: Option<Arc<str>>,
    pub plan: Option<Arc<str>>,
    pub scopes: Arc<ScopeSet>,
    pub missing_scopes: ScopeSet,
    pub environment: Option<Environment>,
    pub expires_at: Option<Time>,
    pub ratelimit: Option<RateLimit>,
}

impl Verification {
    /// The answer for a key that does not exist and for one that is somebody else's: the same, so that nothing can be learned.
    pub fn not_found() -> Self {
        Self {
            valid: false,
            code: Code::NotFound,
            key_id: None,
            account_id: None,
            external_id: None,
            plan: None,
            scopes: Arc::default(),
            missing_scopes: ScopeSet::default(),
            environment: None,
            expires_at: None,
            ratelimit: None,
        }
    }
}

/// What the presented credential is and may do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Whoami {
    pub account_id: AccountId,
    pub email: String,
    pub operator: bool,
    pub plan: String,
    /// `None`: the credential is a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyView>,
    /// `None`: the credential is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
}

/// A program's session: never its tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    pub id: ProgramSessionId,
    /// All its human may.
    pub scopes: ScopeSet,
    pub environment: Environment,
    pub created_at: Time,
    /// When it ends unless it is refreshed.
    pub expires_at: Time,
}

/// Whether the presented key may do something, without doing it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScopeCheck {
    pub allowed: bool,
    pub granted: ScopeSet,
    pub missing: ScopeSet,
    /// The public name of the credential: a key's or a session's id.
    pub id: String,
    /// The shown head of a key; empty for a session.
    pub prefix: String,
    /// All the credential has.
    pub scopes: ScopeSet,
    pub environment: Environment,
    pub expires_at: Option<Time>,
    pub ratelimit: Option<RateLimit>,
}

/// What `POST /oauth2/introspect` answers for a good token (RFC 7662 §2.2). Times are Unix seconds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Introspection {
    pub active: bool,
    #[serde(with = "crate::api::values::space_delimited")]
    #[schemars(with = "String")]
    pub scope: ScopeSet,
    /// The registration that asked for the key, where an agent did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<RegistrationId>,
    pub token_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    pub iat: i64,
    pub sub: AccountId,
    pub aud: String,
    pub iss: String,
    pub key_id: KeyId,
    pub environment: Environment,
    /// The service's own name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Arc<str>>,
}
