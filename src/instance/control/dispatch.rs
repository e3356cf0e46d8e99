//! Carries out what came over the control socket.

use crate::{
    api::{error::Error, keys::Created, values::Revealed},
    domain::{
        environment::Environment,
        id::{AccountId, KeyId},
        pasted,
        pkce::CodeChallenge,
        registration::poll::MAX_WAIT_SECONDS,
        scope::{Scope, ScopeSet},
        secret::{ApiKey, ClaimToken, CodeVerifier, Password},
        source::Source,
    },
    instance::control::{
        request::{ControlRequest, ControlResponse},
        status::{InstanceStatus, Role},
    },
    service::{
        admin::accounts::{self, AccountFilter},
        caller::{Actor, Caller, Requirements},
        claims::register::{NewRegistration, Registrant},
        idempotency::{CallName, Operation},
        keys::{create::NewKey, edit::Edit, list::KeyFilter, rotate::Rotate},
        services::Services,
    },
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The store in this process: the use cases, and what this process is to others.
#[derive(Clone)]
pub struct Local {
    pub service: Arc<Services>,
    pub role: Role,
    pub data: PathBuf,
    /// Cancelled when another process asked for the directory.
    pub(crate) asked_for: CancellationToken,
    /// Whom the HTTP layer let in with this very request: not looked up again.
    let_in: Option<Caller>,
}

impl Local {
    /// For all calls of a process. Each still proves itself by what it presents.
    pub fn new(service: Arc<Services>, role: Role, data: PathBuf) -> Self {
        Self { service, role, data, asked_for: CancellationToken::new(), let_in: None }
    }

    /// The same, for the calls of one request whose credential was verified just now.
    pub fn for_caller(&self, caller: Caller) -> Self {
        Self { let_in: Some(caller), ..self.clone() }
    }

    fn status(&self) -> InstanceStatus {
        let config = &self.service.context.config;
        InstanceStatus {
            pid: std::process::id(),
            role: self.role,
            url: config.public_url.clone(),
            api: config.resource().to_owned(),
            environment: config.environment,
            service_name: config.service_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data: self.data.clone(),
            publishable_key: self.service.accounts.publishable_key().map(str::to_owned),
            fault: self.service.fault().map(|fault| fault.to_string()),
            unknown_callers: self.service.callers.unknown(),
            clock_behind: self.service.latest_time.clock_behind(),
        }
    }

    async fn caller(&self, credential: &Revealed, need: Requirements) -> Result<Caller, Error> {
        self.caller_with(&presented(credential)?, need).await
    }

    async fn caller_with(&self, key: &ApiKey, need: Requirements) -> Result<Caller, Error> {
        if let Some(caller) = &self.let_in {
            self.service.verifier.charge(caller, need.cost)?;
            return Ok(caller.clone());
        }
        self.service.verifier.authenticate(Some(key), &need).await
    }

    /// What a credential may do.
    pub async fn check_scope(
        &self,
        credential: &Revealed,
        scopes: &[String],
        environment: Option<Environment>,
    ) -> Result<ControlResponse, Error> {
        let key = presented(credential)?;
        let caller = self.caller_with(&key, Requirements::default()).await?;
        let check = self.service.verifier.check_scopes(&caller, &key, &scope_set(scopes)?, environment).await?;
        Ok(ControlResponse::ScopeCheck(Box::new(check)))
    }

    /// The account an e-mail names; none: all of them.
    async fn account(&self, email: Option<String>) -> Result<Option<AccountId>, Error> {
        match email {
            Some(email) => Ok(Some(self.service.accounts.account_by_email(&email).await?.id)),
            None => Ok(None),
        }
    }
}

fn presented(credential: &Revealed) -> Result<ApiKey, Error> {
    ApiKey::presented(credential.expose()).ok_or(Error::Unauthorized { presented: true })
}

impl ControlRequest {
    /// Asks the use case. Both environments are accepted here, as on every management endpoint, and reported.
    pub async fn run(self, here: &Local, operation: Operation) -> Result<ControlResponse, Error> {
        let service = &here.service;
        match self {
            Self::Register { agent_name, scopes, login_hint, environment, code_challenge } => {
                let challenge = Some(challenge(&code_challenge)?);
                let ask = NewRegistration { agent_name, scopes, login_hint, environment, challenge, handle: None };
                let who = Registrant { source: Source::Local, account: None };
                service.claims.register_once(ask, who, operation).await.map(|it| ControlResponse::Registered(Box::new(it)))
            }
            Self::NewAttempt { claim_token, login_hint } => {
                let token = ClaimToken::parse(claim_token.expose()).ok_or(Error::InvalidClaimToken)?;
                service
                    .claims
                    .new_attempt_once(&token, login_hint, false, operation)
                    .await
                    .map(|it| ControlResponse::NewAttempt(Box::new(it)))
            }
            Self::Poll { claim_token, code_verifier, wait_seconds } => {
                let token = ClaimToken::parse(claim_token.expose()).ok_or(Error::InvalidGrant)?;
                let verifier = CodeVerifier::parse(code_verifier.expose()).ok_or(Error::InvalidGrant)?;
                let (verifier, wait) = (Some(&verifier), wait_seconds.min(MAX_WAIT_SECONDS));
                let delivered = if wait == 0 {
                    service.claims.poll(&token, verifier, Source::Local).await
                } else {
                    service.claims.poll_until(&token, verifier, Source::Local, Duration::from_secs(wait)).await
                };
                delivered.map(|it| ControlResponse::Delivered(Box::new(it)))
            }
            Self::ListKeys { credential, status, environment, cursor, limit } => {
                let caller = here.caller(&credential, Requirements::call()).await?;
                let account = caller.account.id;
                let filter = KeyFilter { status, environment, cursor, limit, ..KeyFilter::default() };
                service.keys.list_keys(&caller.actor(), Some(account), &filter).await.map(ControlResponse::Keys)
            }
            Self::RevokeKey { credential, key_id, reason } => {
                if let Some(revoked) = service.keys.revoked_by(operation).await? {
                    return Ok(ControlResponse::Revoked(revoked));
                }
                // Costs nothing: a used-up allowance must never keep a key alive.
                let caller = here.caller(&credential, Requirements::default()).await?;
                let actor = caller.actor();
                service.keys.revoke_key_once(&actor, key(&key_id)?, reason, Source::Local, operation).await.map(ControlResponse::Revoked)
            }
            Self::CheckScope { credential, scopes, environment } => here.check_scope(&credential, &scopes, environment).await,
            Self::Whoami { credential } => {
                let caller = here.caller(&credential, Requirements::call()).await?;
                service.keys.whoami(&caller).await.map(|it| ControlResponse::Whoami(Box::new(it)))
            }
            Self::CreateAccount { email, password, operator } => {
                // Whoever runs the machine vouches for the address.
                let password = Password::typed(password.expose().to_owned());
                service.accounts.create_account_once(&email, password, operator, true, operation).await?;
                service.accounts.find_account(&email).await.map(ControlResponse::AccountCreated)
            }
            Self::ResetPassword { email, password } => service
                .accounts
                .reset_password(&email, Password::typed(password.expose().to_owned()), operation)
                .await
                .map(ControlResponse::PasswordReset),
            Self::Accounts { search, cursor } => service
                .admin
                .list_accounts(&AccountFilter { search, cursor, limit: Some(accounts::MAX_PAGE) })
                .await
                .map(ControlResponse::Accounts),
            Self::ChangeAccount { account, change } => {
                service.admin.change_account(&account, change, None).await.map(ControlResponse::Account)
            }
            Self::CreateKey { account, name, scopes, environment, expires_in, requests_per_minute } => {
                let owner = service.accounts.account_by_email(&account).await?.id;
                let new = NewKey { name, scopes, environment, expires_in, requests_per_minute };
                let created =
                    service.keys.create_key_as(Actor::Operator, owner, new, Source::Local, CallName::Operation(operation)).await?;
                let key = created.key.ok_or_else(|| Error::internal("a key without its secret"))?;
                Ok(ControlResponse::KeyCreated(Box::new(Created { key, view: created.view })))
            }
            Self::AllKeys { account, status, environment, created_by, q, cursor, limit } => {
                let owner = here.account(account).await?;
                let filter = KeyFilter { status, environment, created_by, q, cursor, limit };
                service.keys.list_keys(&Actor::Operator, owner, &filter).await.map(ControlResponse::Keys)
            }
            Self::ShowKey { key_id } => {
                service.keys.get_key(&Actor::Operator, key(&key_id)?).await.map(|it| ControlResponse::Key(Box::new(it)))
            }
            Self::EditKey { key_id, name, scopes, disabled } => {
                let edit = Edit { name, scopes, disabled };
                let edited = service.keys.edit_key(&Actor::Operator, key(&key_id)?, edit, Source::Local).await;
                edited.map(|it| ControlResponse::Key(Box::new(it)))
            }
            Self::RotateKey { key_id, grace_seconds, expires_in } => {
                let rotate = Rotate { grace_seconds, expires_in };
                let rotated = service
                    .keys
                    .rotate_key_as(&Actor::Operator, key(&key_id)?, rotate, Source::Local, CallName::Operation(operation))
                    .await;
                rotated.map(|it| ControlResponse::KeyRotated(Box::new(it)))
            }
            Self::ListAgents { account, cursor, limit } => {
                let owner = here.account(account).await?;
                service.claims.list_agents(&Actor::Operator, owner, cursor.as_deref(), limit).await.map(ControlResponse::Agents)
            }
            Self::RevokeAgent { grant_id } => {
                let grant = grant_id.parse().map_err(|_| Error::not_found("agent"))?;
                service.claims.revoke_agent(&Actor::Operator, grant, Source::Local).await.map(ControlResponse::AgentsRevoked)
            }
            Self::RevokeAllAgents { account } => {
                let owner = here.account(account).await?;
                service.claims.revoke_all_agents(&Actor::Operator, owner, Source::Local).await.map(ControlResponse::AgentsRevoked)
            }
            Self::RevokeAny { key_id, reason } => {
                if let Some(revoked) = service.keys.revoked_by(operation).await? {
                    return Ok(ControlResponse::Revoked(revoked));
                }
                service
                    .keys
                    .revoke_key_once(&Actor::Operator, key(&key_id)?, reason, Source::Local, operation)
                    .await
                    .map(ControlResponse::Revoked)
            }
            Self::ResumeKeys { key_id } => {
                let id = key_id.as_deref().map(key).transpose()?;
                service.admin.resume_keys(&Actor::Operator, id, Source::Local).await.map(|keys| ControlResponse::Resumed { keys })
            }
            Self::Backup { dir } => service.admin.backup(dir).await.map(ControlResponse::BackedUp),
            Self::VerifyKey { key, scopes, environment, cost } => {
                let need = Requirements { scopes: scope_set(&scopes)?, environment, cost };
                service.verifier.verify_as_operator(key.expose(), need).await.map(|it| ControlResponse::Verdict(Box::new(it)))
            }
            Self::Status => Ok(ControlResponse::Status(here.status())),
            Self::HandOver if here.role == Role::Mcp => {
                here.asked_for.cancel();
                Ok(ControlResponse::HandingOver)
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
