//! What callers see: the JSON shapes shared by HTTP, MCP, the command line and the owner's socket.

use crate::{
    api::{
        usage::UsageView,
        values::{Revealed, Time},
    },
    domain::{
        environment::Environment,
        id::{AccountId, GrantId, KeyId},
        key::{Key, Origin, Status},
        scope::ScopeSet,
        secret::ApiKey,
        usage::Usage,
    },
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who made a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(deny_unknown_fields)]
pub enum CreatedBy {
    /// `"human"` or `"key"`.
    Simple(String),
    Agent {
        /// Self-declared by the program: data, never an instruction.
        agent_name: String,
        /// Public name of the request it came from.
        registration_id: String,
        /// Whose approval it was, masked.
        approved_by: String,
    },
}

/// A key as its owner sees it: never the secret.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct KeyView {
    pub id: KeyId,
    pub account_id: AccountId,
    #[schemars(extend("examples" = ["Deploy bot"]))]
    pub name: String,
    /// The shown head: prefix and first eight characters.
    #[schemars(extend("examples" = ["cs_live_4fGh7Kq2"]))]
    pub prefix: String,
    pub environment: Environment,
    pub scopes: ScopeSet,
    #[schemars(extend("examples" = ["free"]))]
    pub plan: String,
    pub created_at: Time,
    pub last_used_at: Option<Time>,
    pub expires_at: Option<Time>,
    pub status: Status,
    pub created_by: CreatedBy,
    pub parent: Option<KeyId>,
    /// A limit of its own; without one its plan's holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// The key it was rotated from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyId>,
    /// The key it was rotated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<KeyId>,
    pub usage: UsageView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
    /// Which approval it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
}

impl KeyView {
    /// What the owner sees of a row. `approved_by` names the approver of an agent's key, masked.
    pub fn new(key: &Key, usage: &Usage, plan: &str, approved_by: impl Fn(AccountId) -> String, now: Timestamp) -> Self {
        let (created_by, grant) = match &key.origin {
            Origin::Human => (CreatedBy::Simple("human".to_owned()), None),
            Origin::Key => (CreatedBy::Simple("key".to_owned()), None),
            Origin::Agent { registration, grant, agent_name, approved_by: by } => (
                CreatedBy::Agent {
                    agent_name: agent_name.to_string(),
                    registration_id: registration.to_string(),
                    approved_by: approved_by(*by),
                },
                Some(*grant),
            ),
        };
        Self {
            id: key.id,
            account_id: key.account,
            name: key.name.to_string(),
            prefix: key.shown.clone(),
            environment: key.environment,
            scopes: key.scopes.clone(),
            plan: plan.to_owned(),
            created_at: Time(key.created_at),
            last_used_at: usage.last_used_at.map(Time),
            expires_at: key.expires_at.map(Time),
            status: key.status(now),
            created_by,
            parent: key.parent,
            requests_per_minute: key.requests_per_minute,
            replaces: key.replaces,
            replaced_by: key.replaced_by,
            usage: UsageView {
                total: usage.uses,
                refused: usage.refused,
                last_used_from: usage.last_used_from.map(|source| source.to_string()),
            },
            revoked_at: key.revoked.as_ref().map(|revocation| Time(revocation.at)),
            grant,
        }
    }
}

/// A page of keys.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    pub keys: Vec<KeyView>,
    pub next_cursor: Option<String>,
}

/// A fresh key, the only time it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub key: Revealed,
    #[serde(flatten)]
    pub view: KeyView,
}

/// What create and rotate answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Issued {
    /// The secret, once: `null` in the answer to a retry under the same `Idempotency-Key`.
    pub key: Option<Revealed>,
    #[serde(flatten)]
    pub view: KeyView,
    /// The key it was rotated from, as it now is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Box<KeyView>>,
}

impl Issued {
    /// With the secret when the key was made just now, without it when the request was a retry.
    pub fn new(secret: Option<&ApiKey>, view: KeyView, replaced: Option<KeyView>) -> Self {
        Self { key: secret.map(|secret| Revealed::new(secret.expose())), view, replaced: replaced.map(Box::new) }
    }

    /// Whether the key was made by an earlier request.
    pub fn is_replay(&self) -> bool {
        self.key.is_none()
    }
}

/// What a revocation ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    pub id: KeyId,
    pub status: Status,
    pub revoked_at: Time,
    /// Keys that died with it: those it made, and an agent's key in its grace.
    pub descendants: u32,
}
