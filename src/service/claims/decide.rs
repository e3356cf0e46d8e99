//! A human approves or denies.

use crate::{
    api::error::Error,
    domain::{
        activity::EventKind,
        daily_count::CountedEvent,
        environment::Environment,
        grant::Grant,
        id::{GrantId, RegistrationId},
        registration::{request::Approval, transitions::Registration},
        scope::{Scope, ScopeSet},
        secret::Password,
        session::BrowserSession,
        source::Source,
        throttle::Throttle,
        time::after,
        user_code::UserCode,
    },
    service::{
        claims::{
            enter_code::{TOO_MANY_CODES, check_hint},
            review::FLAG_RETENTION,
            state::Claims,
        },
        fresh_sign_in::{must_be_fresh, signed_in},
        keys::{issue::checked_lifetime, quota::check_key_quota},
        record_event::record,
        throttle::check_throttles,
    },
    store::access::Read,
};
use jiff::SignedDuration;
use subtle::ConstantTimeEq;

/// What the human chose on the review page.
#[derive(Debug, Default)]
pub struct Decision {
    pub digest: String,
    pub scopes: Vec<String>,
    /// Seconds; `None` keeps the offered lifetime.
    pub lifetime: Option<i64>,
    pub environment: Option<Environment>,
    pub code: Option<UserCode>,
    pub password: Option<Password>,
}

impl Claims {
    /// Step 4a: Approve. Everything shown is checked again inside the transaction that decides.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: scopes, lifetime or environment that were not offered, or a code that is needed.
    /// * [`Error::PasswordNeeded`]: the approval is risky, and the sign-in not fresh.
    /// * [`Error::ReviewChanged`]: the human saw something else than what would be approved.
    /// * [`Error::WrongCode`], [`Error::AlreadyDecided`]: as for [`Registration::decidable`]; what is over is like a wrong code.
    /// * [`Error::WrongPassword`], [`Error::TooMany`]: as for [`sign_in_again`](crate::service::accounts::state::Accounts::sign_in_again).
    /// * [`Error::Conflict`]: the account has as many active keys as it may.
    pub async fn approve(&self, session: &BrowserSession, id: RegistrationId, decision: Decision, source: Source) -> Result<(), Error> {
        let now = self.context.runtime.now();
        let (account_id, token) = (session.account, session.token);
        let chosen = chosen_scopes(&decision.scopes)?;
        let lifetime = self.chosen_lifetime(decision.lifetime)?;
        let environment = decision.environment;
        if environment.is_some_and(|e| !self.context.config.offered_environments().contains(&e)) {
            return Err(Error::invalid("environment", "is not offered here"));
        }
        let registration = self.context.store.read(|tx| tx.registrations().get(id)).await?.ok_or(Error::WrongCode)?;
        let (request, attempt) = registration.decidable(account_id, now)?;
        let digest = self.review_digest(account_id, request, attempt);
        if !bool::from(digest.as_bytes().ct_eq(decision.digest.as_bytes())) {
            return Err(Error::ReviewChanged);
        }
        let first_agent = !self.has_agents(account_id).await?;
        let risky = self.typed_needed(&chosen, lifetime.is_none(), first_agent);
        if risky {
            self.accounts.sign_in_again(session, decision.password, source).await?;
        }
        let needs_code = risky && !attempt.typed;
        let typed_code = decision.code.map(|code| self.hash_code(&code));
        let shown_attempt = attempt.id;
        let grant_id = GrantId::new(now, self.context.runtime.bytes());
        let salt = request.challenge.as_ref().map(|_| self.context.runtime.bytes());
        let format = self.context.config.key_format();
        let max_active = self.context.config.keys.max_active_per_account;
        let hint_rule = self.context.config.claim.login_hint;
        let random = self.context.runtime.bytes();
        self.context
            .store
            .write(move |tx| {
                let (session, account) = signed_in(tx, token, now)?;
                if risky {
                    must_be_fresh(&session, &account, now)?;
                }
                let registration = tx.registrations().get(id)?.ok_or(Error::WrongCode)?;
                let (request, attempt) = registration.decidable(account_id, now)?;
                if attempt.id != shown_attempt {
                    return Err(Error::ReviewChanged);
                }
                if !chosen.is_subset(&request.scopes) {
                    return Err(Error::invalid("scopes", "holds a scope that was not asked for"));
                }
                check_hint(hint_rule, &account, request)?;
                if needs_code && typed_code.is_none() {
                    // Not a guess: nobody is charged for a field left empty.
                    return Err(Error::invalid("code", "is needed: type the one your agent shows"));
                }
                if needs_code && typed_code != Some(attempt.code) {
                    // Eight letters more than the account had to know to come here: its own allowance is enough.
                    let limit = Throttle::wrong_codes(account_id);
                    check_throttles(tx, std::slice::from_ref(&limit), now, TOO_MANY_CODES)?;
                    tx.charge(&limit, now)?;
                    return Ok(Err(Error::WrongCode));
                }
                check_key_quota(tx, account_id, max_active, None, now)?;
                let approval = Approval {
                    grant: grant_id,
                    account: account_id,
                    at: now,
                    scopes: chosen.clone(),
                    environment: environment.unwrap_or(request.environment),
                    key_lifetime: lifetime.map(|lifetime| lifetime.as_secs()),
                    format: format.clone(),
                    salt,
                };
                let agent = request.agent_name.clone();
                tx.save(&Grant {
                    id: grant_id,
                    account: account_id,
                    registration: id,
                    agent_name: agent.clone(),
                    approved_at: now,
                    approved_from: Some(source),
                    scopes: approval.scopes.clone(),
                    environment: Some(approval.environment),
                    key: None,
                    ended_at: None,
                })?;
                tx.save(&registration.approve(approval, now)?)?;
                tx.count_event(CountedEvent::Approved, now)?;
                record(tx, account_id, Some(source), EventKind::Approved { registration: id, grant: grant_id, agent }, now, random)?;
                Ok::<_, Error>(Ok(()))
            })
            .await?
    }

    /// The lifetime can be shortened, never lengthened.
    fn chosen_lifetime(&self, seconds: Option<i64>) -> Result<Option<SignedDuration>, Error> {
        let offered = self.context.config.claim.key_ttl.0;
        let Some(seconds) = seconds else { return Ok(offered) };
        match checked_lifetime("lifetime", seconds)? {
            chosen if offered.is_some_and(|most| chosen > most) => {
                Err(Error::invalid("lifetime", "must be at least a minute and at most what was offered"))
            }
            chosen => Ok(Some(chosen)),
        }
    }

    /// Step 4b: Deny, or "I did not start this", which also flags where the request came from.
    ///
    /// # Errors
    /// * [`Error::SignInNeeded`]: the session is over.
    /// * [`Error::WrongCode`], [`Error::AlreadyDecided`]: as for [`Registration::decidable`].
    /// * [`Error::Forbidden`]: as for [`check_hint`].
    pub async fn deny(&self, session: &BrowserSession, id: RegistrationId, disown: bool, source: Source) -> Result<(), Error> {
        let (now, account, token, random) = (self.context.runtime.now(), session.account, session.token, self.context.runtime.bytes());
        let hint_rule = self.context.config.claim.login_hint;
        self.context
            .store
            .write(move |tx| {
                tx.takes_away();
                let (_, decider) = signed_in(tx, token, now)?;
                let registration = tx.registrations().get(id)?.ok_or(Error::WrongCode)?;
                let (request, _) = registration.decidable(account, now)?;
                check_hint(hint_rule, &decider, request)?;
                let (agent, from) = (registration.request().agent_name.clone(), registration.request().source);
                let what = if disown {
                    // Of this computer the address says nothing: everything here comes from it.
                    if !from.is_this_computer() {
                        tx.flag(&from, after(now, FLAG_RETENTION).as_second())?;
                    }
                    EventKind::Disowned { registration: id, agent, from }
                } else {
                    EventKind::Denied { registration: id, agent }
                };
                tx.save(&registration.deny(account, now)?)?;
                tx.count_event(CountedEvent::Denied, now)?;
                Ok::<_, Error>(record(tx, account, Some(source), what, now, random)?)
            })
            .await
    }

    /// Step 4c: "not me, give it back".
    ///
    /// # Errors
    /// As [`Self::deny`].
    pub async fn release(&self, session: &BrowserSession, id: RegistrationId) -> Result<(), Error> {
        let (now, account, token) = (self.context.runtime.now(), session.account, session.token);
        self.context
            .store
            .write(move |tx| {
                signed_in(tx, token, now)?;
                let registration = tx.registrations().get(id)?.ok_or(Error::WrongCode)?;
                Ok::<_, Error>(tx.save(&registration.release(account, now)?)?)
            })
            .await
    }

    /// What became of a registration this account decided: for the page after the decision.
    ///
    /// # Errors
    /// [`Error::WrongCode`]: this account decided no such registration.
    pub async fn decision(&self, session: &BrowserSession, id: RegistrationId) -> Result<Registration, Error> {
        let (account, token, now) = (session.account, session.token, self.context.runtime.now());
        let read = |tx: &dyn Read| {
            signed_in(tx, token, now)?;
            Ok::<_, Error>(tx.registrations().get(id)?)
        };
        let registration = self.context.store.read(read).await?;
        registration.filter(|r| r.account() == Some(account) && !matches!(r, Registration::Pending { .. })).ok_or(Error::WrongCode)
    }
}

fn chosen_scopes(scopes: &[String]) -> Result<ScopeSet, Error> {
    let chosen: Result<ScopeSet, _> =
        scopes.iter().map(|scope| scope.parse::<Scope>()).collect::<Result<Vec<_>, _>>().map(|s| s.into_iter().collect());
    let chosen = chosen.map_err(|error| Error::invalid("scopes", error.to_string()))?;
    if chosen.is_empty() {
        return Err(Error::invalid("scopes", "must keep at least one permission; to give none, deny"));
    }
    Ok(chosen)
}
