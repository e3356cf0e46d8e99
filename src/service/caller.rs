//! Who calls, in whose right, and what a call requires.

use crate::{
    api::{error::Error, verification::RateLimit},
    cache::{cached_account::CachedAccount, cached_key::CachedKey},
    domain::{
        digest::Digest,
        environment::Environment,
        id::{AccountId, ProgramSessionId},
        scope::ScopeSet,
        session::BrowserSession,
    },
    service::{
        active_account::active_account,
        fresh_sign_in::{must_be_fresh, signed_in},
    },
    store::access::Read,
};
use jiff::Timestamp;
use std::sync::Arc;

/// Who acts on keys.
#[derive(Debug, Clone)]
pub enum Actor {
    /// A human in their browser's session, by the hash of its token: for as long as it lives.
    Owner { account: AccountId, session: Digest },
    /// A program that signed in with its human's password: as the human, but what it makes must not outreach it.
    Program { account: AccountId, session: ProgramSessionId },
    /// A key, within its scopes and lineage.
    Key(Arc<CachedKey>),
    /// Whoever runs the deployment, on its own machine.
    Operator,
}

impl Actor {
    /// The human of a signed-in browser.
    pub const fn owner(session: &BrowserSession) -> Self {
        Self::Owner { account: session.account, session: session.token }
    }

    /// The one account it may act on; `None`: any.
    pub(super) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Owner { account, .. } | Self::Program { account, .. } => Some(*account),
            Self::Key(key) => Some(key.account.id),
            Self::Operator => None,
        }
    }

    /// The actor as the store knows it now: between a request's start and its transaction a key may have been narrowed
    /// or revoked, and a session may have ended.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for a key or a program's session that works no more, [`Error::SignInNeeded`] for a browser's.
    pub(super) fn now(&self, tx: &dyn Read, now: Timestamp) -> Result<Self, Error> {
        let gone = || Error::Unauthorized { presented: true };
        let key = match self {
            Self::Operator => return Ok(self.clone()),
            Self::Owner { session, .. } => return signed_in(tx, *session, now).map(|_| self.clone()),
            Self::Program { account, session } => {
                let session = tx.program_sessions().get(*session)?.filter(|session| session.is_live(now) && session.account == *account);
                active_account(tx, session.ok_or_else(gone)?.account).map_err(|_| gone())?;
                return Ok(self.clone());
            }
            Self::Key(key) => key,
        };
        let row = tx.keys().get(key.id)?.filter(|key| key.is_active(now)).ok_or_else(gone)?;
        let account = active_account(tx, row.account).map_err(|_| gone())?;
        Ok(Self::Key(Arc::new(key.renewed(&row, Arc::new(account.facts())))))
    }

    /// Whether it may give somebody a right at this moment: a human whose sign-in is fresh.
    ///
    /// # Errors
    /// [`Error::SignInNeeded`]: the session is over. As [`must_be_fresh`]: it is not fresh.
    pub(super) fn may_give(&self, tx: &dyn Read, now: Timestamp) -> Result<(), Error> {
        let Self::Owner { session, .. } = self else { return Ok(()) };
        let (session, account) = signed_in(tx, *session, now)?;
        must_be_fresh(&session, &account, now)
    }
}

/// What a request needs of a key.
#[derive(Debug, Clone, Default)]
pub struct Requirements {
    pub scopes: ScopeSet,
    /// `None`: either environment will do.
    pub environment: Option<Environment>,
    /// What it takes from the plan's allowance; 0 takes nothing.
    pub cost: u32,
}

impl Requirements {
    /// An ordinary call that costs one request, in either environment.
    pub fn call() -> Self {
        Self { cost: 1, ..Self::default() }
    }

    /// The same, with one scope more. A text that is no scope asks for nothing.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scopes = self.scopes.iter().cloned().chain(scope.parse().ok()).collect();
        self
    }

    /// The same, for a key of one environment only.
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// Who presented a credential that is good.
#[derive(Debug, Clone)]
pub enum Principal {
    Key(Arc<CachedKey>),
    /// A program that signed in with its human's password: acts as the account.
    Session(ProgramSessionId),
}

/// A caller that was let in.
#[derive(Debug, Clone)]
pub struct Caller {
    pub who: Principal,
    pub account: Arc<CachedAccount>,
    pub ratelimit: Option<RateLimit>,
}

impl Caller {
    /// In whose right it acts on keys.
    pub fn actor(&self) -> Actor {
        match &self.who {
            Principal::Key(key) => Actor::Key(key.clone()),
            Principal::Session(session) => Actor::Program { account: self.account.id, session: *session },
        }
    }

    /// Whether it may: a session may whatever its human may.
    pub fn has(&self, scope: &str) -> bool {
        match &self.who {
            Principal::Key(key) => key.scopes.has(scope),
            Principal::Session(_) => true,
        }
    }

    /// The public name of the credential: a key's or a session's id.
    pub fn name(&self) -> String {
        match &self.who {
            Principal::Key(key) => key.id.to_string(),
            Principal::Session(id) => id.to_string(),
        }
    }
}
