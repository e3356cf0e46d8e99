//! What a human approved.

use crate::domain::{
    environment::Environment,
    id::{AccountId, GrantId, KeyId, RegistrationId},
    name::Name,
    scope::ScopeSet,
    source::Source,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an approval created: one row the human sees. Everything issued from it dies with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    pub account: AccountId,
    pub registration: RegistrationId,
    pub agent_name: Name,
    pub approved_at: Timestamp,
    /// Where the human was who approved.
    #[serde(default)]
    pub approved_from: Option<Source>,
    /// What was granted; what its key may do now stands there.
    #[serde(default)]
    pub scopes: ScopeSet,
    #[serde(default)]
    pub environment: Option<Environment>,
    /// The key, once it was delivered; after a rotation its successor.
    pub key: Option<KeyId>,
    /// Set when the grant was revoked or its delivery window passed unused.
    pub ended_at: Option<Timestamp>,
}
