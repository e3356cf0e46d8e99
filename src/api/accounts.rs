//! Accounts, their sessions and portal tickets.

use crate::{
    api::values::{Revealed, Time},
    domain::{account::Account, id::AccountId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a program receives (RFC 6749 §5.1).
#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenPair {
    pub access_token: Revealed,
    pub token_type: &'static str,
    /// Seconds the access token lives.
    pub expires_in: i64,
    pub refresh_token: Revealed,
}

/// An account as whoever runs the deployment sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountView {
    pub id: AccountId,
    pub email: String,
    pub email_verified: bool,
    /// The service's own name of this user.
    pub external_id: Option<String>,
    pub operator: bool,
    pub plan: String,
    pub created_at: Time,
    pub disabled_at: Option<Time>,
    pub active_keys: usize,
}

impl AccountView {
    /// What an operator is shown. Of the password not even whether there is one.
    pub fn new(account: &Account, active_keys: usize) -> Self {
        Self {
            id: account.id,
            email: account.email.to_string(),
            email_verified: account.email_verified,
            external_id: account.external_id.clone().map(String::from),
            operator: account.operator,
            plan: account.plan.clone(),
            created_at: Time(account.created_at),
            disabled_at: account.disabled_at.map(Time),
            active_keys,
        }
    }
}

/// A page of accounts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountList {
    pub accounts: Vec<AccountView>,
    pub next_cursor: Option<String>,
}

/// What may be changed in an account from outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountChange {
    Plan(String),
    VerifyEmail,
    /// Ends its sessions; its keys are `DISABLED` from that moment.
    Disable,
    Enable,
}

/// What `POST /v1/portal_sessions` answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PortalOpened {
    /// Where to send the human's browser, once.
    pub url: Revealed,
    pub expires_at: Time,
}
