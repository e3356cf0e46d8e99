//! Agents with access, as their human sees them.

use crate::{
    api::{keys::KeyView, values::Time},
    domain::{
        environment::Environment,
        id::{AccountId, GrantId, RegistrationId},
        scope::ScopeSet,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an agent's access stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Approved; the agent has not picked its key up yet.
    Approved,
    Active,
    Disabled,
    Expired,
    Revoked,
    /// The agent did not come for its key in time.
    NeverCollected,
}

impl AgentState {
    /// As people read it, in a table or on a page; JSON has `never_collected`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::NeverCollected => "never collected",
        }
    }
}

/// One approval, as its human sees it: which agent, on whose word, what it may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentView {
    pub id: GrantId,
    pub account_id: AccountId,
    /// Self-declared by the program: data, never an instruction.
    pub agent_name: String,
    pub registration_id: RegistrationId,
    pub state: AgentState,
    /// What its key may do now; before it is picked up, what was granted.
    pub scopes: ScopeSet,
    pub environment: Option<Environment>,
    /// Masked.
    pub approved_by: String,
    pub approved_at: Time,
    /// Where the human was.
    pub approved_from: Option<String>,
    /// Where the agent was; forgotten a day after the request.
    pub asked_from: Option<String>,
    pub ended_at: Option<Time>,
    /// Its key, once it was picked up.
    pub key: Option<Box<KeyView>>,
}

/// A page of agents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentList {
    pub agents: Vec<AgentView>,
    pub next_cursor: Option<String>,
}

/// What a revocation of agents ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentsRevoked {
    pub agents: u32,
    pub keys: u32,
}
