//! What an agent is told of its registration.

use crate::{
    api::values::{Revealed, Time},
    domain::{
        environment::Environment,
        id::{KeyId, RegistrationId},
        scope::ScopeSet,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What `POST /agent/identity` answers.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    pub registration_id: RegistrationId,
    pub registration_type: String,
    pub claim_token: Revealed,
    pub claim_token_expires: Time,
    pub claim_url: String,
    pub post_claim_scopes: ScopeSet,
    pub ignored_scopes: Vec<String>,
    pub environment: Environment,
    pub next: String,
    pub claim: ClaimBlock,
}

// `next` spells the user code out, so the replies that carry it print only what they are about.
impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("registration_id", &self.registration_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for NewAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAttempt").field("registration_id", &self.registration_id).finish_non_exhaustive()
    }
}

/// What the agent shows its human (RFC 8628 §3.2).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ClaimBlock {
    #[schemars(extend("examples" = ["WDJB-MJHT"]))]
    pub user_code: Revealed,
    pub verification_uri: String,
    pub verification_uri_complete: Revealed,
    /// Seconds the code lives.
    pub expires_in: i64,
    /// Seconds between polls. Always there in our answers; who reads another server's fills it in.
    #[serde(default)]
    #[schemars(required)]
    pub interval: u16,
}

/// What `POST /agent/identity/claim` answers: a fresh attempt.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct NewAttempt {
    pub registration_id: RegistrationId,
    pub claim_attempt_id: String,
    pub status: String,
    pub expires_at: Time,
    pub claim_attempt: ClaimBlock,
    pub attempt: ClaimBlock,
    pub next: String,
}

/// The one delivery of a key (RFC 6749 §5.1).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Delivered {
    pub access_token: Revealed,
    pub token_type: String,
    #[serde(with = "crate::api::values::space_delimited")]
    #[schemars(with = "String", extend("examples" = ["audience:read email:send"]))]
    pub scope: ScopeSet,
    pub key_id: KeyId,
    /// The approver's e-mail, masked: the agent tells its human whose account it got.
    pub approved_by: String,
    pub environment: Environment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    pub key_prefix: String,
    pub next: String,
}
