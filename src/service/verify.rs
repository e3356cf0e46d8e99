//! Whether a presented key is good, and for what: the one rule every protected resource asks.

use super::{
    Error, Service,
    view::{Code, RateLimit, ScopeCheck, Time, Verdict},
};
use crate::{
    domain::{
        account::Account,
        activity::What,
        key::{Environment, Key, Status},
        scope::{KEYS_VERIFY, ScopeSet},
        secret::{ApiKey, Purpose},
    },
    store::{StoreError, rows},
};
use jiff::Timestamp;

/// What a request needs of a key.
#[derive(Debug, Clone, Default)]
pub struct Need {
    pub scopes: ScopeSet,
    /// `None`: either environment will do.
    pub environment: Option<Environment>,
    /// What it takes from the plan's allowance; 0 takes nothing.
    pub cost: u32,
}

impl Need {
    /// An ordinary call that costs one request, in either environment.
    pub fn call() -> Self {
        Self { cost: 1, ..Self::default() }
    }

    pub fn scope(mut self, scope: &str) -> Self {
        self.scopes = self.scopes.iter().cloned().chain(scope.parse().ok()).collect();
        self
    }

    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// A key that passed, with its account.
#[derive(Debug, Clone)]
pub struct Caller {
    pub key: Key,
    pub account: Account,
    pub ratelimit: Option<RateLimit>,
}

/// The operator's own service, which verifies everybody's keys, is not its customer. Agents never get `keys:verify`
/// unless the operator says so, so an operator's agents are limited like anybody's.
fn is_unlimited(key: &Key, account: &Account) -> bool {
    account.operator && key.scopes.has(KEYS_VERIFY)
}

/// What a judgement found: the code, and the missing scopes or the limit it speaks of.
struct Judgement {
    code: Code,
    missing: ScopeSet,
    ratelimit: Option<RateLimit>,
}

impl Service {
    /// The key a caller presented, if there is one. Forms no key has are refused without a look-up.
    pub(super) async fn look_up(&self, presented: &ApiKey) -> Result<Option<(Key, Account)>, Error> {
        if !self.formats.iter().any(|format| format.could_be(presented)) {
            return Ok(None);
        }
        let hash = self.secret.hash(Purpose::ApiKey, presented.expose().as_bytes());
        self.store
            .read(|rows| {
                let Some(key) = rows::key_by_hash(rows, &hash)? else { return Ok(None) };
                let account = rows::account(rows, key.account)?;
                Ok(account.map(|account| (key, account)))
            })
            .await
    }

    /// The rule, in order: revoked, expired, disabled, environment, scopes, limit. A refused call costs nothing.
    async fn judge(&self, key: &Key, account: &Account, need: &Need, now: Timestamp) -> Result<Judgement, Error> {
        let plain = |code| Judgement { code, missing: ScopeSet::default(), ratelimit: None };
        match key.status(now) {
            Status::Revoked => return Ok(plain(Code::Revoked)),
            Status::Expired => return Ok(plain(Code::Expired)),
            Status::Disabled => return Ok(plain(Code::Disabled)),
            Status::Active if account.disabled_at.is_some() => return Ok(plain(Code::Disabled)),
            Status::Active => {}
        }
        // Even a use that is refused below shows that the key arrived.
        self.end_redelivery(key).await?;
        if need.environment.is_some_and(|environment| environment != key.environment) {
            self.note_wrong_environment(key, now).await?;
            return Ok(plain(Code::WrongEnvironment));
        }
        let missing = need.scopes.missing_from(&key.scopes);
        if !missing.is_empty() {
            return Ok(Judgement { code: Code::InsufficientScope, missing, ratelimit: None });
        }
        let ratelimit = match self.charged(key, account, need.cost) {
            Ok(standing) => standing,
            Err(over) => return Ok(Judgement { code: Code::RateLimited, missing, ratelimit: Some(over) }),
        };
        self.usage.note(key.id, now);
        Ok(Judgement { code: Code::Valid, missing, ratelimit })
    }

    /// The first use ends the possibility to have the key delivered again.
    async fn end_redelivery(&self, key: &Key) -> Result<(), Error> {
        let Some(registration) = key.redeliverable else { return Ok(()) };
        let id = key.id;
        self.store
            .write(move |rows| {
                if let Some(mut key) = rows::key(rows, id)? {
                    key.redeliverable = None;
                    rows::save(rows, &key)?;
                }
                super::delivery::forget_salt(rows, registration)
            })
            .await
    }

    async fn note_wrong_environment(&self, key: &Key, now: Timestamp) -> Result<(), Error> {
        let (account, id, random) = (key.account, key.id, self.world.bytes());
        // Once an hour and key: the log says why without being a way to fill the disk.
        let limit = crate::domain::limit::Limit::wrong_environment_notes(id);
        self.store
            .write(move |rows| {
                if rows::charged(rows, &limit, now)? < limit.max {
                    rows::charge(rows, &limit, now)?;
                    super::record(rows, account, None, What::WrongEnvironment { key: id }, now, random)?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(())
    }

    /// Lets a caller in, or says why not in the words a resource uses: unknown, revoked, expired, disabled and
    /// wrong-environment keys look the same.
    pub async fn authenticate(&self, presented: Option<&ApiKey>, need: &Need) -> Result<Caller, Error> {
        let presented = presented.ok_or(Error::Unauthorized { presented: false })?;
        let Some((key, account)) = self.look_up(presented).await? else { return Err(Error::Unauthorized { presented: true }) };
        let found = self.judge(&key, &account, need, self.world.now()).await?;
        match found.code {
            Code::Valid => Ok(Caller { key, account, ratelimit: found.ratelimit }),
            Code::InsufficientScope => Err(Error::InsufficientScope { missing: found.missing }),
            Code::RateLimited => match found.ratelimit {
                Some(limit) => Err(Error::RateLimited(limit)),
                None => Err(Error::Busy),
            },
            Code::NotFound | Code::Revoked | Code::Expired | Code::Disabled | Code::WrongEnvironment => {
                Err(Error::Unauthorized { presented: true })
            }
        }
    }

    /// Charges one more call of a caller that was let in a moment ago.
    pub fn charge(&self, caller: &Caller, cost: u32) -> Result<(), Error> {
        match self.charged(&caller.key, &caller.account, cost) {
            Ok(_) => Ok(()),
            Err(over) => Err(Error::RateLimited(over)),
        }
    }

    /// Where a key's limit stands after `cost`, or what it says when there is no room.
    fn charged(&self, key: &Key, account: &Account, cost: u32) -> Result<Option<RateLimit>, RateLimit> {
        if is_unlimited(key, account) { Ok(None) } else { self.plans.charge(&account.plan, key.root(), cost) }
    }

    /// `POST /v1/keys/verify`: the verdict on somebody's key, for a caller with `keys:verify`.
    /// Somebody else's key is `NOT_FOUND`; nothing is charged or touched then.
    pub async fn verify(&self, caller: &Caller, presented: &str, need: Need) -> Result<Verdict, Error> {
        if !caller.key.scopes.has(KEYS_VERIFY) {
            return Err(Error::InsufficientScope { missing: KEYS_VERIFY.parse().into_iter().collect() });
        }
        let all = caller.account.operator;
        let own = caller.account.id;
        self.verdict(presented, need, |account| all || account.id == own).await
    }

    /// The verdict for the operator's own command line.
    pub async fn verify_as_operator(&self, presented: &str, need: Need) -> Result<Verdict, Error> {
        self.verdict(presented, need, |_| true).await
    }

    async fn verdict(&self, presented: &str, need: Need, may_ask: impl Fn(&Account) -> bool) -> Result<Verdict, Error> {
        let Some(presented) = ApiKey::presented(presented) else { return Ok(Verdict::not_found()) };
        let Some((key, account)) = self.look_up(&presented).await?.filter(|(_, account)| may_ask(account)) else {
            return Ok(Verdict::not_found());
        };
        if let Some(most) = self.plans.per_minute(&account.plan)
            && need.cost > most
        {
            return Err(Error::invalid("cost", format!("must be an integer from 0 to the key's limit, {most}")));
        }
        let found = self.judge(&key, &account, &need, self.world.now()).await?;
        Ok(Verdict {
            valid: found.code == Code::Valid,
            code: found.code,
            key_id: Some(key.id),
            account_id: Some(account.id),
            external_id: account.external_id,
            plan: Some(account.plan),
            scopes: key.scopes,
            missing_scopes: found.missing,
            environment: Some(key.environment),
            expires_at: key.expires_at.map(Time),
            ratelimit: found.ratelimit,
        })
    }

    /// Where a presented key's limit stands; takes nothing.
    pub async fn standing_of(&self, presented: &ApiKey) -> Result<Option<RateLimit>, Error> {
        let found = self.look_up(presented).await?.filter(|(key, account)| !is_unlimited(key, account));
        Ok(found.and_then(|(key, account)| self.plans.standing(&account.plan, key.root())))
    }

    /// What a caller may do, without charging the plan.
    pub fn check_scopes(&self, caller: &Caller, wanted: &ScopeSet, environment: Option<Environment>) -> ScopeCheck {
        let missing = wanted.missing_from(&caller.key.scopes);
        let right_environment = environment.is_none_or(|e| e == caller.key.environment);
        ScopeCheck {
            allowed: missing.is_empty() && right_environment,
            granted: wanted.intersection(&caller.key.scopes),
            missing,
            key_id: caller.key.id,
            prefix: caller.key.shown.clone(),
            scopes: caller.key.scopes.clone(),
            environment: caller.key.environment,
            expires_at: caller.key.expires_at.map(Time),
            ratelimit: (!is_unlimited(&caller.key, &caller.account))
                .then(|| self.plans.standing(&caller.account.plan, caller.key.root()))
                .flatten(),
        }
    }
}
