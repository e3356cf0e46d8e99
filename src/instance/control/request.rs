//! What another process of this computer may ask of the one that holds the store: the use cases, one variant each.
//!
//! Two capabilities share the socket: forwarding (what an agent's MCP client does, with that client's own
//! credential) and administration (the command line). Neither can approve or deny a claim: that takes a human
//! in a browser, so no variant for it exists.

use crate::{
    api::{
        accounts::{AccountChange, AccountList, AccountView},
        agents::{AgentList, AgentsRevoked},
        claims::{Delivered, NewAttempt, Registered},
        keys::{Created, Issued, KeyList, KeyView, Revoked},
        values::Revealed,
        verification::{ScopeCheck, Verification, Whoami},
    },
    domain::{
        environment::Environment,
        key::{CreatorKind, Status},
        registration::poll::MAX_WAIT_SECONDS,
    },
    instance::control::status::InstanceStatus,
    store::backup::Manifest,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// A backup is given up after a day.
const MAX_BACKUP_DURATION: Duration = Duration::from_secs(24 * 3600);

/// One question. Secrets in it are [`Revealed`]: they serialize, and `Debug` hides them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum ControlRequest {
    // Forwarding: the agent's side.
    Register {
        agent_name: String,
        /// `None`: the configured least set.
        scopes: Option<Vec<String>>,
        login_hint: Option<String>,
        environment: Option<Environment>,
        /// S256, 43 base64url characters: with it a lost reply loses no key.
        code_challenge: String,
    },
    NewAttempt {
        claim_token: Revealed,
        login_hint: Option<String>,
    },
    Poll {
        claim_token: Revealed,
        code_verifier: Revealed,
        /// 0: answer at once; else hold the call until the decision, at most [`MAX_WAIT_SECONDS`].
        wait_seconds: u64,
    },
    // Forwarding: with the client's own credential.
    ListKeys {
        credential: Revealed,
        status: Option<Status>,
        environment: Option<Environment>,
        cursor: Option<String>,
        limit: Option<usize>,
    },
    RevokeKey {
        credential: Revealed,
        key_id: String,
        reason: Option<String>,
    },
    CheckScope {
        credential: Revealed,
        scopes: Vec<String>,
        environment: Option<Environment>,
    },
    Whoami {
        credential: Revealed,
    },
    // Administration: whoever runs the deployment, on its own machine.
    CreateAccount {
        email: String,
        password: Revealed,
        operator: bool,
    },
    /// Signs the account out everywhere, too.
    ResetPassword {
        email: String,
        password: Revealed,
    },
    Accounts {
        search: String,
        cursor: Option<String>,
    },
    /// `account`: its id, e-mail or external id.
    ChangeAccount {
        account: String,
        change: AccountChange,
    },
    CreateKey {
        /// The owner's e-mail.
        account: String,
        name: String,
        scopes: Vec<String>,
        environment: Option<Environment>,
        /// Seconds; `None`: until revoked.
        expires_in: Option<i64>,
        /// `None`: the plan's.
        requests_per_minute: Option<u32>,
    },
    AllKeys {
        /// The owner's e-mail; `None`: everybody's.
        account: Option<String>,
        status: Option<Status>,
        environment: Option<Environment>,
        created_by: Option<CreatorKind>,
        q: Option<String>,
        cursor: Option<String>,
        limit: Option<usize>,
    },
    ShowKey {
        key_id: String,
    },
    EditKey {
        key_id: String,
        name: Option<String>,
        scopes: Option<Vec<String>>,
        disabled: Option<bool>,
    },
    RotateKey {
        key_id: String,
        grace_seconds: Option<i64>,
        expires_in: Option<i64>,
    },
    RevokeAny {
        key_id: String,
        reason: Option<String>,
    },
    ResumeKeys {
        /// `None`: all that a restore suspended.
        key_id: Option<String>,
    },
    /// Into a directory of the same computer; ends when the caller goes away.
    Backup {
        dir: PathBuf,
    },
    ListAgents {
        /// The owner's e-mail; `None`: everybody's.
        account: Option<String>,
        cursor: Option<String>,
        limit: Option<usize>,
    },
    RevokeAgent {
        grant_id: String,
    },
    RevokeAllAgents {
        /// The owner's e-mail; `None`: everybody's.
        account: Option<String>,
    },
    VerifyKey {
        key: Revealed,
        scopes: Vec<String>,
        environment: Option<Environment>,
        /// What it takes from the plan's allowance; 0 takes nothing.
        cost: u32,
    },
    Status,
    /// `serve` outranks `mcp`: the owner lets go of the directory, and asks whoever takes it from then on.
    HandOver,
}

/// One answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum ControlResponse {
    Registered(Box<Registered>),
    NewAttempt(Box<NewAttempt>),
    Delivered(Box<Delivered>),
    Keys(KeyList),
    Revoked(Revoked),
    ScopeCheck(Box<ScopeCheck>),
    Whoami(Box<Whoami>),
    AccountCreated(AccountView),
    PasswordReset(AccountView),
    Accounts(AccountList),
    Account(AccountView),
    KeyCreated(Box<Created>),
    Resumed { keys: u64 },
    BackedUp(Manifest),
    Key(Box<KeyView>),
    KeyRotated(Box<Issued>),
    Agents(AgentList),
    AgentsRevoked(AgentsRevoked),
    Verdict(Box<Verification>),
    Status(InstanceStatus),
    HandingOver,
}

impl ControlRequest {
    /// Whether it may take long: such a call ends when its caller goes away.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Poll { wait_seconds: 1.., .. } | Self::Backup { .. })
    }

    /// How long the owner may hold the call.
    pub fn longest_wait(&self) -> Duration {
        match self {
            Self::Poll { wait_seconds, .. } => Duration::from_secs((*wait_seconds).min(MAX_WAIT_SECONDS)),
            Self::Backup { .. } => MAX_BACKUP_DURATION,
            _ => Duration::ZERO,
        }
    }

    /// The same call after some of its waiting was done.
    pub fn after(&self, waited: Duration) -> Self {
        let mut rest = self.clone();
        if let Self::Poll { wait_seconds, .. } = &mut rest {
            *wait_seconds = wait_seconds.saturating_sub(waited.as_secs());
        }
        rest
    }

    /// Whether a call whose reply was lost may be sent again. One that changes something is an operation, which
    /// happens once; a poll gets the same key again, thanks to its verifier; what a verification charges is kept in
    /// memory, and died with the process that did not answer.
    pub fn may_be_repeated(&self) -> bool {
        !matches!(self, Self::HandOver | Self::Backup { .. })
    }
}
