//! What another process of this computer may ask of the one that holds the store: the use cases, one variant each.
//!
//! Two capabilities share the socket: forwarding (what an agent's MCP client does, with that client's own
//! credential) and administration (the command line). Neither can approve or deny a claim: that takes a human
//! in a browser, so no variant for it exists.

use super::Role;
use crate::{
    domain::{
        id::{AccountId, KeyId},
        key::{Environment, Maker, Status},
        pasted,
        scope::{Scope, ScopeSet},
        secret::{ApiKey, ClaimToken, CodeChallenge, CodeVerifier, Password},
        source::Source,
    },
    service::{
        Error, MAX_WAIT, Operation, Service,
        claim::{Ask, Registrant},
        keys::{Actor, Edit, Filter, NewKey, Rotate},
        operator::{self, AccountFilter, Change},
        verify::{Caller, Need},
        view::{
            AccountList, AccountView, AgentList, AgentsRevoked, Created, Delivered, Issued, KeyList, KeyView, NewAttempt, Registered,
            Revealed, Revoked, ScopeCheck, Verdict, Whoami,
        },
    },
    store::backup::Manifest,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A backup is given up after a day.
const LONGEST_BACKUP: Duration = Duration::from_secs(24 * 3600);

/// One question. Secrets in it are [`Revealed`]: they serialize, and `Debug` hides them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
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
        /// 0: answer at once; else hold the call until the decision, at most [`MAX_WAIT`].
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
        change: Change,
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
        created_by: Option<Maker>,
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
pub enum Reply {
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
    Verdict(Box<Verdict>),
    Status(Standing),
    HandingOver,
}

/// Which process answers, and for what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Standing {
    pub pid: u32,
    pub role: Role,
    /// Where its pages are.
    pub url: String,
    /// The service whose API the keys open.
    pub api: String,
    pub environment: Environment,
    pub service_name: String,
    pub version: String,
    /// The data directory.
    pub data: PathBuf,
    /// What programs send as `apikey` to sign in, where they may.
    #[serde(default)]
    pub publishable_key: Option<String>,
    /// Why its store failed, while that waits to be opened again.
    #[serde(default)]
    pub fault: Option<String>,
    /// Why callers behind a proxy have no address, each with what mends it.
    #[serde(default)]
    pub unknown_callers: Vec<(String, String)>,
    /// How far its clock is behind the latest time seen, in words.
    #[serde(default)]
    pub clock_behind: Option<String>,
}

/// The store in this process: the use cases, and what this process is to others.
#[derive(Clone)]
pub struct Local {
    pub service: Arc<Service>,
    pub role: Role,
    pub data: PathBuf,
    /// Cancelled when another process asked for the directory.
    pub(super) asked_for: CancellationToken,
    /// Whom the HTTP layer let in with this very request: not looked up again.
    let_in: Option<Caller>,
}

impl Local {
    pub fn new(service: Arc<Service>, role: Role, data: PathBuf) -> Self {
        Self { service, role, data, asked_for: CancellationToken::new(), let_in: None }
    }

    /// The same, for the calls of one request whose credential was verified just now.
    pub fn for_caller(&self, caller: Caller) -> Self {
        Self { let_in: Some(caller), ..self.clone() }
    }

    fn standing(&self) -> Standing {
        let config = &self.service.config;
        Standing {
            pid: std::process::id(),
            role: self.role,
            url: config.public_url.clone(),
            api: config.resource().to_owned(),
            environment: config.environment,
            service_name: config.service_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data: self.data.clone(),
            publishable_key: self.service.publishable_key().map(str::to_owned),
            fault: self.service.store().fault().map(|fault| fault.to_string()),
            unknown_callers: self.service.callers.unknown(),
            clock_behind: self.service.clock_behind(),
        }
    }

    async fn caller(&self, credential: &Revealed, need: Need) -> Result<Caller, Error> {
        self.caller_with(&presented(credential)?, need).await
    }

    async fn caller_with(&self, key: &ApiKey, need: Need) -> Result<Caller, Error> {
        if let Some(caller) = &self.let_in {
            self.service.charge(caller, need.cost)?;
            return Ok(caller.clone());
        }
        self.service.authenticate(Some(key), &need).await
    }

    /// What a credential may do.
    pub async fn check_scope(&self, credential: &Revealed, scopes: &[String], environment: Option<Environment>) -> Result<Reply, Error> {
        let key = presented(credential)?;
        let caller = self.caller_with(&key, Need::default()).await?;
        let check = self.service.check_scopes(&caller, &key, &scope_set(scopes)?, environment).await?;
        Ok(Reply::ScopeCheck(Box::new(check)))
    }

    /// The account an e-mail names; none: all of them.
    async fn account(&self, email: Option<String>) -> Result<Option<AccountId>, Error> {
        match email {
            Some(email) => Ok(Some(self.service.account_by_email(&email).await?.id)),
            None => Ok(None),
        }
    }
}

fn presented(credential: &Revealed) -> Result<ApiKey, Error> {
    ApiKey::presented(credential.expose()).ok_or(Error::Unauthorized { presented: true })
}

impl Call {
    /// Whether it may take long: such a call ends when its caller goes away.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Poll { wait_seconds: 1.., .. } | Self::Backup { .. })
    }

    /// How long the owner may hold the call.
    pub fn longest_wait(&self) -> Duration {
        match self {
            Self::Poll { wait_seconds, .. } => Duration::from_secs((*wait_seconds).min(MAX_WAIT)),
            Self::Backup { .. } => LONGEST_BACKUP,
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

    /// Asks the use case. Both environments are accepted here, as on every management endpoint, and reported.
    pub async fn run(self, here: &Local, operation: Operation) -> Result<Reply, Error> {
        let service = &here.service;
        match self {
            Self::Register { agent_name, scopes, login_hint, environment, code_challenge } => {
                let challenge = Some(challenge(&code_challenge)?);
                let ask = Ask { agent_name, scopes, login_hint, environment, challenge, handle: None };
                let who = Registrant { source: Source::Local, account: None };
                service.register_once(ask, who, operation).await.map(|it| Reply::Registered(Box::new(it)))
            }
            Self::NewAttempt { claim_token, login_hint } => {
                let token = ClaimToken::parse(claim_token.expose()).ok_or(Error::InvalidClaimToken)?;
                service.new_attempt_once(&token, login_hint, false, operation).await.map(|it| Reply::NewAttempt(Box::new(it)))
            }
            Self::Poll { claim_token, code_verifier, wait_seconds } => {
                let token = ClaimToken::parse(claim_token.expose()).ok_or(Error::InvalidGrant)?;
                let verifier = CodeVerifier::parse(code_verifier.expose()).ok_or(Error::InvalidGrant)?;
                let (verifier, wait) = (Some(&verifier), wait_seconds.min(MAX_WAIT));
                let delivered = if wait == 0 {
                    service.poll(&token, verifier, Source::Local).await
                } else {
                    service.poll_until(&token, verifier, Source::Local, Duration::from_secs(wait)).await
                };
                delivered.map(|it| Reply::Delivered(Box::new(it)))
            }
            Self::ListKeys { credential, status, environment, cursor, limit } => {
                let caller = here.caller(&credential, Need::call()).await?;
                let account = caller.account.id;
                let filter = Filter { status, environment, cursor, limit, ..Filter::default() };
                service.list_keys(&caller.actor(), Some(account), &filter).await.map(Reply::Keys)
            }
            Self::RevokeKey { credential, key_id, reason } => {
                if let Some(revoked) = service.revoked_by(operation).await? {
                    return Ok(Reply::Revoked(revoked));
                }
                // Costs nothing: a used-up allowance must never keep a key alive.
                let caller = here.caller(&credential, Need::default()).await?;
                let actor = caller.actor();
                service.revoke_key_once(&actor, key(&key_id)?, reason, Source::Local, operation).await.map(Reply::Revoked)
            }
            Self::CheckScope { credential, scopes, environment } => here.check_scope(&credential, &scopes, environment).await,
            Self::Whoami { credential } => {
                let caller = here.caller(&credential, Need::call()).await?;
                service.whoami(&caller).await.map(|it| Reply::Whoami(Box::new(it)))
            }
            Self::CreateAccount { email, password, operator } => {
                // Whoever runs the machine vouches for the address.
                let password = Password::typed(password.expose().to_owned());
                service.create_account_once(&email, password, operator, true, operation).await?;
                service.find_account(&email).await.map(Reply::AccountCreated)
            }
            Self::ResetPassword { email, password } => {
                service.reset_password(&email, Password::typed(password.expose().to_owned()), operation).await.map(Reply::PasswordReset)
            }
            Self::Accounts { search, cursor } => {
                service.list_accounts(&AccountFilter { search, cursor, limit: Some(operator::MAX_PAGE) }).await.map(Reply::Accounts)
            }
            Self::ChangeAccount { account, change } => service.change_account(&account, change, None).await.map(Reply::Account),
            Self::CreateKey { account, name, scopes, environment, expires_in, requests_per_minute } => {
                let owner = service.account_by_email(&account).await?.id;
                let new = NewKey { name, scopes, environment, expires_in, requests_per_minute };
                let created = service.create_key_as(Actor::Operator, owner, new, Source::Local, None, operation).await?;
                let key = created.key.ok_or_else(|| Error::internal("a key without its secret"))?;
                Ok(Reply::KeyCreated(Box::new(Created { key, view: created.view })))
            }
            Self::AllKeys { account, status, environment, created_by, q, cursor, limit } => {
                let owner = here.account(account).await?;
                let filter = Filter { status, environment, created_by, q, cursor, limit };
                service.list_keys(&Actor::Operator, owner, &filter).await.map(Reply::Keys)
            }
            Self::ShowKey { key_id } => service.get_key(&Actor::Operator, key(&key_id)?).await.map(|it| Reply::Key(Box::new(it))),
            Self::EditKey { key_id, name, scopes, disabled } => {
                let edit = Edit { name, scopes, disabled };
                let edited = service.edit_key(&Actor::Operator, key(&key_id)?, edit, Source::Local).await;
                edited.map(|it| Reply::Key(Box::new(it)))
            }
            Self::RotateKey { key_id, grace_seconds, expires_in } => {
                let rotate = Rotate { grace_seconds, expires_in };
                let rotated = service.rotate_key_as(&Actor::Operator, key(&key_id)?, rotate, Source::Local, None, operation).await;
                rotated.map(|it| Reply::KeyRotated(Box::new(it)))
            }
            Self::ListAgents { account, cursor, limit } => {
                let owner = here.account(account).await?;
                service.list_agents(&Actor::Operator, owner, cursor.as_deref(), limit).await.map(Reply::Agents)
            }
            Self::RevokeAgent { grant_id } => {
                let grant = grant_id.parse().map_err(|_| Error::not_found("agent"))?;
                service.revoke_agent(&Actor::Operator, grant, Source::Local).await.map(Reply::AgentsRevoked)
            }
            Self::RevokeAllAgents { account } => {
                let owner = here.account(account).await?;
                service.revoke_all_agents(&Actor::Operator, owner, Source::Local).await.map(Reply::AgentsRevoked)
            }
            Self::RevokeAny { key_id, reason } => {
                if let Some(revoked) = service.revoked_by(operation).await? {
                    return Ok(Reply::Revoked(revoked));
                }
                service.revoke_key_once(&Actor::Operator, key(&key_id)?, reason, Source::Local, operation).await.map(Reply::Revoked)
            }
            Self::ResumeKeys { key_id } => {
                let id = key_id.as_deref().map(key).transpose()?;
                service.resume_keys(&Actor::Operator, id, Source::Local).await.map(|keys| Reply::Resumed { keys })
            }
            Self::Backup { dir } => service.backup(dir).await.map(Reply::BackedUp),
            Self::VerifyKey { key, scopes, environment, cost } => {
                let need = Need { scopes: scope_set(&scopes)?, environment, cost };
                service.verify_as_operator(key.expose(), need).await.map(|it| Reply::Verdict(Box::new(it)))
            }
            Self::Status => Ok(Reply::Status(here.standing())),
            Self::HandOver if here.role == Role::Mcp => {
                here.asked_for.cancel();
                Ok(Reply::HandingOver)
            }
            Self::HandOver => Err(Error::Conflict { detail: "a server hands over to nobody: end it first".to_owned() }),
        }
    }
}

fn challenge(text: &str) -> Result<CodeChallenge, Error> {
    CodeChallenge::parse(text).ok_or_else(|| Error::invalid("code_challenge", "must be 43 base64url characters (S256)"))
}

/// An id no key can have is told like an unknown one.
fn key(text: &str) -> Result<KeyId, Error> {
    pasted::bare(text).parse().map_err(|_| Error::not_found("key"))
}

fn scope_set(names: &[String]) -> Result<ScopeSet, Error> {
    let parse = |name: &String| name.parse::<Scope>().map_err(|error| Error::invalid("scopes", format!("{error}")));
    names.iter().map(parse).collect()
}
