//! Whether a presented key is good, and for what: the one rule every protected resource asks.

use crate::{
    api::{
        error::Error,
        values::Time,
        verification::{Code, RateLimit, ScopeCheck, Verification},
    },
    cache::{cached_account::CachedAccount, cached_key::CachedKey},
    domain::{
        activity::EventKind,
        environment::Environment,
        key::Status,
        scope::{KEYS_VERIFY, ScopeSet},
        secret::ApiKey,
        server_secret::Purpose,
        source::Source,
        throttle::Throttle,
    },
    service::{
        caller::{Caller, Principal, Requirements},
        record_event::record,
        redelivery::end_redelivery_of_registration,
        verification::state::Verifier,
    },
    store::error::StoreError,
};
use jiff::Timestamp;
use std::sync::Arc;

/// The operator's own service, which verifies everybody's keys, is not its customer. Agents never get `keys:verify`
/// unless the operator says so, so an operator's agents are limited like anybody's.
fn is_unlimited(key: &CachedKey) -> bool {
    key.account.operator && key.scopes.has(KEYS_VERIFY)
}

/// What a judgement found: the code, and the missing scopes or the limit it speaks of.
struct Judgement {
    code: Code,
    missing: ScopeSet,
    ratelimit: Option<RateLimit>,
}

impl Verifier {
    // What is boxed below is rare; as a part of the future of each verification it would be moved about with it.

    /// The key a caller presented, if there is one. Forms no key has are refused without a look-up.
    pub(crate) async fn look_up(&self, presented: &ApiKey) -> Result<Option<Arc<CachedKey>>, Error> {
        if !self.formats.iter().any(|format| format.could_be(presented)) {
            return Ok(None);
        }
        for hash in self.context.secret.hashes(Purpose::ApiKey, presented.expose().as_bytes()) {
            if let Some(key) = self.known_key(&hash).await? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The head of a key that may be shown.
    fn shown(&self, presented: &ApiKey) -> String {
        self.formats.iter().find_map(|format| format.shown(presented)).unwrap_or_default().to_owned()
    }

    /// The rule, and what came of it is counted. A refused call costs nothing of the allowance.
    async fn judge(&self, key: &CachedKey, need: &Requirements, from: Option<Source>, now: Timestamp) -> Result<Judgement, Error> {
        let found = self.rule(key, need, now).await?;
        self.usage.note(&key.meter, found.code.refusal(), from, now);
        Ok(found)
    }

    /// In order: revoked, expired, disabled, environment, scopes, limit.
    async fn rule(&self, key: &CachedKey, need: &Requirements, now: Timestamp) -> Result<Judgement, Error> {
        let plain = |code| Judgement { code, missing: ScopeSet::default(), ratelimit: None };
        match key.status(now) {
            Status::Revoked => return Ok(plain(Code::Revoked)),
            Status::Expired => {
                if let Some(end) = key.expires_at() {
                    Box::pin(self.latest_time.note_end(end)).await;
                }
                return Ok(plain(Code::Expired));
            }
            Status::Disabled => return Ok(plain(Code::Disabled)),
            Status::Active if key.account.disabled => return Ok(plain(Code::Disabled)),
            Status::Active => {}
        }
        // Even a use that is refused below shows that the key arrived.
        if key.redeliverable().is_some() {
            Box::pin(self.end_redelivery(key)).await?;
        }
        if need.environment.is_some_and(|environment| environment != key.environment) {
            Box::pin(self.note_wrong_environment(key, now)).await?;
            return Ok(plain(Code::WrongEnvironment));
        }
        let missing = need.scopes.missing_from(&key.scopes);
        if !missing.is_empty() {
            return Ok(Judgement { code: Code::InsufficientScope, missing, ratelimit: None });
        }
        match self.charged(key, need.cost) {
            Ok(ratelimit) => Ok(Judgement { code: Code::Valid, missing, ratelimit }),
            Err(over) => Ok(Judgement { code: Code::RateLimited, missing, ratelimit: Some(over) }),
        }
    }

    /// The first use ends the possibility to have the key delivered again.
    async fn end_redelivery(&self, key: &CachedKey) -> Result<(), Error> {
        let Some(registration) = key.redeliverable() else { return Ok(()) };
        let id = key.id;
        self.context
            .store
            .write(move |tx| {
                if let Some(mut key) = tx.keys().get(id)? {
                    key.redeliverable = None;
                    tx.save(&key)?;
                }
                end_redelivery_of_registration(tx, registration)
            })
            .await
    }

    async fn note_wrong_environment(&self, key: &CachedKey, now: Timestamp) -> Result<(), Error> {
        let (account, id, random) = (key.account.id, key.id, self.context.runtime.bytes());
        // Once an hour and key: the log says why without being a way to fill the disk.
        let limit = Throttle::wrong_environment_notes(id);
        self.context
            .store
            .write(move |tx| {
                if tx.throttles().charged(&limit, now)? < limit.max {
                    tx.charge(&limit, now)?;
                    record(tx, account, None, EventKind::WrongEnvironment { key: id }, now, random)?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(())
    }

    /// Lets a caller in, or says why not in the words a resource uses: unknown, revoked, expired, disabled and
    /// wrong-environment keys look the same.
    ///
    /// # Errors
    /// * [`Error::Unauthorized`]: no credential, or one that does not work, whatever the reason.
    /// * [`Error::InsufficientScope`]: it lacks a scope of `need`.
    /// * [`Error::RateLimited`]: its allowance has no room for the cost.
    pub async fn authenticate(&self, presented: Option<&ApiKey>, need: &Requirements) -> Result<Caller, Error> {
        self.authenticate_from(presented, need, None).await
    }

    /// The same; where the use comes from is kept for the owner to see.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn authenticate_from(&self, presented: Option<&ApiKey>, need: &Requirements, from: Option<Source>) -> Result<Caller, Error> {
        let presented = presented.ok_or(Error::Unauthorized { presented: false })?;
        if let Some(token) = presented.as_access_token() {
            return Box::pin(self.authenticate_session(&token, need)).await;
        }
        let Some(key) = self.look_up(presented).await? else { return Err(Error::Unauthorized { presented: true }) };
        let found = self.judge(&key, need, from, self.context.runtime.now()).await?;
        match found.code {
            Code::Valid => Ok(Caller { account: key.account.clone(), who: Principal::Key(key), ratelimit: found.ratelimit }),
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
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn charge(&self, caller: &Caller, cost: u32) -> Result<(), Error> {
        let charged = match &caller.who {
            Principal::Key(key) => self.charged(key, cost).inspect_err(|_| {
                self.usage.note(&key.meter, Code::RateLimited.refusal(), None, self.context.runtime.now());
            }),
            Principal::Session(_) => self.rate_limits.charge_account(&caller.account, cost),
        };
        charged.map(|_| ()).map_err(Error::RateLimited)
    }

    /// Where a key's limit stands after `cost`, or what it says when there is no room.
    fn charged(&self, key: &CachedKey, cost: u32) -> Result<Option<RateLimit>, RateLimit> {
        if is_unlimited(key) {
            return Ok(None);
        }
        self.rate_limits.charge_key(key, cost)
    }

    /// `POST /v1/keys/verify`: the verdict on somebody's key, for a caller with `keys:verify`.
    /// Somebody else's key is `NOT_FOUND`; nothing is charged or touched then.
    ///
    /// # Errors
    /// * [`Error::InsufficientScope`]: the caller lacks `keys:verify`.
    /// * [`Error::Invalid`]: the text holds a key and something else, or the cost is more than the key may ever use at once.
    pub async fn verify(&self, caller: &Caller, presented: &str, need: Requirements) -> Result<Verification, Error> {
        if !caller.has(KEYS_VERIFY) {
            return Err(Error::InsufficientScope { missing: KEYS_VERIFY.parse().into_iter().collect() });
        }
        // A session acts for its human alone, operator or not.
        let all = caller.account.operator && matches!(caller.who, Principal::Key(_));
        let own = caller.account.id;
        self.verdict(presented, need, |account| all || account.id == own).await
    }

    /// The verdict for the operator's own command line.
    ///
    /// # Errors
    /// [`Error::Invalid`], as for [`Self::verify`].
    pub async fn verify_as_operator(&self, presented: &str, need: Requirements) -> Result<Verification, Error> {
        self.verdict(presented, need, |_| true).await
    }

    async fn verdict(&self, text: &str, need: Requirements, may_ask: impl Fn(&CachedAccount) -> bool) -> Result<Verification, Error> {
        let found = match ApiKey::presented(text) {
            Some(presented) => self.look_up(&presented).await?,
            None => None,
        };
        let Some(key) = found else {
            self.alone("key", text)?;
            return Ok(Verification::not_found());
        };
        if !may_ask(&key.account) {
            return Ok(Verification::not_found());
        }
        if need.cost > 1
            && let Some(most) = self.rate_limits.max_cost(&key)
            && need.cost > most
        {
            return Err(Error::invalid("cost", format!("must be an integer from 0 to the key's limit, {most}")));
        }
        let found = self.judge(&key, &need, None, self.context.runtime.now()).await?;
        Ok(Verification {
            valid: found.code == Code::Valid,
            code: found.code,
            key_id: Some(key.id),
            account_id: Some(key.account.id),
            external_id: key.account.external_id.clone(),
            plan: Some(key.account.plan.clone()),
            scopes: key.scopes.clone(),
            missing_scopes: found.missing,
            environment: Some(key.environment),
            expires_at: key.expires_at().map(Time),
            ratelimit: found.ratelimit,
        })
    }

    /// Where the limit of a presented key or session stands; takes nothing.
    pub async fn rate_limit_status(&self, presented: &ApiKey) -> Result<Option<RateLimit>, Error> {
        match presented.as_access_token() {
            Some(token) => self.rate_limit_status_of_session(&token).await,
            None => Ok(self.look_up(presented).await?.and_then(|key| self.allowance(&key))),
        }
    }

    fn allowance(&self, key: &CachedKey) -> Option<RateLimit> {
        if is_unlimited(key) { None } else { self.rate_limits.rate_limit_status_of_key(key) }
    }

    /// What the caller may do that presented this credential, without charging the plan.
    pub async fn check_scopes(
        &self,
        caller: &Caller,
        presented: &ApiKey,
        wanted: &ScopeSet,
        environment: Option<Environment>,
    ) -> Result<ScopeCheck, Error> {
        let (prefix, scopes, its_environment, expires_at) = match &caller.who {
            Principal::Key(key) => (self.shown(presented), (*key.scopes).clone(), key.environment, key.expires_at().map(Time)),
            Principal::Session(id) => {
                let session = self.session_view(*id).await?;
                (String::new(), session.scopes, session.environment, Some(session.expires_at))
            }
        };
        let missing = wanted.missing_from(&scopes);
        Ok(ScopeCheck {
            // Nothing was asked for, so nothing is allowed.
            allowed: !wanted.is_empty() && missing.is_empty() && environment.is_none_or(|e| e == its_environment),
            granted: wanted.intersection(&scopes),
            missing,
            id: caller.name(),
            prefix,
            scopes,
            environment: its_environment,
            expires_at,
            ratelimit: caller.ratelimit,
        })
    }
}
