//! The human's side of the ceremony: enter the code, see who asks for what, decide.

use super::{
    Error, Service, any_used_up, charge_all, record,
    signed_in::{must_be_fresh, signed_in},
    used_up,
};
use crate::{
    config::LoginHint,
    domain::{
        account::{Account, Session},
        activity::What,
        id::{AccountId, GrantId, RegistrationId},
        key::{Environment, Grant},
        limit::Limit,
        registration::{Approval, Attempt, Registration, Request, UserCode},
        scope::{Risk, Scope, ScopeSet},
        secret::{Password, Purpose},
        source::Source,
        tally::Counted,
        time::after,
    },
    store::{Read, Table, rows},
};
use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;

const TOO_MANY_CODES: &str = "too many wrong codes: wait an hour, or ask your agent for a fresh code then";
/// A disowned request flags where it came from for a day.
const FLAGGED: SignedDuration = SignedDuration::from_hours(24);

/// One scope as the page shows it.
#[derive(Debug, Clone)]
pub struct ReviewScope {
    pub scope: Scope,
    pub title: String,
    pub risk: Risk,
}

/// Everything the approval page shows, and nothing it does not.
#[derive(Debug, Clone)]
pub struct Review {
    pub registration: RegistrationId,
    pub account: Account,
    pub agent_name: String,
    pub name_has_lookalikes: bool,
    pub scopes: Vec<ReviewScope>,
    pub ignored: Vec<String>,
    pub environment: Environment,
    pub offered_environments: Vec<Environment>,
    /// The lifetime an approval gives unless it is shortened; `None`: until revoked.
    pub lifetime: Option<SignedDuration>,
    pub asked_at: Timestamp,
    pub asked_from: Source,
    pub you_are_at: Source,
    /// The human who is looking comes from somewhere else than the request.
    pub elsewhere: bool,
    /// The source was disowned by a human within a day.
    pub flagged: bool,
    pub hint_is_another: Option<String>,
    pub first_agent: bool,
    pub first_of_this_name: bool,
    pub code_expires_at: Timestamp,
    /// Approving takes the code, typed.
    pub needs_code: bool,
    /// Approving takes the password, again.
    pub needs_password: bool,
    /// Over what was shown: a change in between refuses the decision.
    pub digest: String,
}

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

/// What came of a code.
enum Entered {
    Bound(RegistrationId),
    Wrong,
    /// One code was not enough, right or wrong.
    OneOfTwo,
}

impl Service {
    fn hash_code(&self, code: &UserCode) -> crate::domain::secret::Digest {
        self.secret.hash(Purpose::UserCode, code.letters().as_bytes())
    }

    /// Step 3: the right code binds the attempt to this account. A wrong one charges the guesser, never the attempt;
    /// expired, bound and unknown codes look the same. What can't be a code is no guess.
    ///
    /// While too many guess ([`Limit::shared_wrong_codes`]) it takes two codes of the request, one after the other. The
    /// first, if it was right, is dead from then on, so the agent, which polls, is told to get a fresh one.
    pub async fn enter_code(
        &self,
        session: &Session,
        code: Option<UserCode>,
        typed: bool,
        source: Source,
    ) -> Result<RegistrationId, Error> {
        let (now, account, token) = (self.world.now(), session.account, session.token);
        let hash = self.hash_code(&code.ok_or_else(Error::unreadable_code)?);
        let random = self.world.bytes();
        let hint_rule = self.config.claim.login_hint;
        let pending = u64::try_from(self.registrations.pending()).unwrap_or(0);
        let entered = self
            .store
            .write(move |rows| {
                let (_, guesser) = signed_in(rows, token, now)?;
                let own = Limit::wrong_codes(account);
                // Somebody over their own limit learns nothing, not even that the code is right: else they could guess on,
                // and only the misses would be hidden.
                used_up(rows, std::slice::from_ref(&own), now, TOO_MANY_CODES)?;
                let shared = Limit::shared_wrong_codes(&guesser, &source, now, pending);
                let one_is_enough = !any_used_up(rows, &shared, now)?;
                if let Some(registration) = rows::registration_by(rows, Table::UserCodes, &hash)?
                    && let Ok(bound) = registration.clone().bind(account, typed, now)
                {
                    let half = Limit::half_entered(account, bound.request());
                    if one_is_enough || registration.account() == Some(account) || any_used_up(rows, &half, now)? {
                        check_hint(hint_rule, &guesser, bound.request())?;
                        rows::save(rows, &bound)?;
                        return Ok(Entered::Bound(bound.id()));
                    }
                    charge_all(rows, &half, now)?;
                    rows::save(rows, &registration.spend_code(now))?;
                }
                rows::charge(rows, &own, now)?;
                if rows::charged(rows, &own, now)? == own.max {
                    record(rows, account, Some(source), What::TooManyWrongCodes, now, random)?;
                }
                if !one_is_enough {
                    return Ok(Entered::OneOfTwo);
                }
                charge_all(rows, &shared, now)?;
                if any_used_up(rows, &shared, now)? {
                    tracing::warn!("many wrong codes are entered: some people are asked for a second, fresh code now");
                }
                Ok::<_, Error>(Entered::Wrong)
            })
            .await?;
        match entered {
            Entered::Bound(id) => Ok(id),
            Entered::Wrong => Err(Error::WrongCode),
            Entered::OneOfTwo => Err(Error::FreshCodeNeeded),
        }
    }

    fn typed_needed(&self, scopes: &ScopeSet, unlimited: bool, first_agent: bool) -> bool {
        unlimited || first_agent || scopes.iter().any(|scope| self.catalogue.is_risky(scope))
    }

    /// Whether the code field may be prefilled for this account: its first agent's code is typed.
    pub async fn has_agents(&self, account: AccountId) -> Result<bool, Error> {
        self.store.read(|rows| has_grants(rows, account)).await
    }

    fn review_digest(&self, account: AccountId, request: &Request, attempt: &Attempt) -> String {
        let shown = serde_json::json!([
            account,
            attempt.id,
            request.id,
            request.agent_name,
            request.scopes,
            request.environment,
            self.config.offered_environments(),
            self.config.claim.key_ttl,
            request.scopes.iter().map(|scope| self.catalogue.get(scope)).collect::<Vec<_>>(),
        ]);
        self.secret.tag(Purpose::ReviewDigest, shown.to_string().as_bytes())
    }

    /// Step 4, before the decision: what the human is asked. Only the account that entered the code gets it.
    pub async fn review(&self, session: &Session, id: RegistrationId, source: Source) -> Result<Review, Error> {
        let (now, account_id, token) = (self.world.now(), session.account, session.token);
        let (session, account, registration, grants, flagged) = self
            .store
            .read(|rows| {
                let (session, account) = signed_in(rows, token, now)?;
                let registration = rows::registration(rows, id)?.ok_or(Error::WrongCode)?;
                let flagged = rows::flagged_until(rows, &registration.request().source)?.is_some_and(|until| until > now.as_second());
                let grants = rows::account_grants(rows, account_id)?;
                Ok::<_, Error>((session, account, registration, grants, flagged))
            })
            .await?;
        let (request, attempt) = registration.decidable(account_id, now)?;
        check_hint(self.config.claim.login_hint, &account, request)?;
        let lifetime = self.config.claim.key_ttl.0;
        let first_agent = grants.is_empty();
        let scopes = request
            .scopes
            .iter()
            .filter_map(|scope| self.catalogue.get(scope).map(|info| (scope, info)))
            .map(|(scope, info)| ReviewScope { scope: scope.clone(), title: info.title.clone(), risk: info.risk })
            .collect();
        let risky = self.typed_needed(&request.scopes, lifetime.is_none(), first_agent);
        let same_place = request.source.bucket() == source.bucket() || (request.source.is_this_computer() && source.is_this_computer());
        Ok(Review {
            registration: id,
            agent_name: request.agent_name.to_string(),
            name_has_lookalikes: request.agent_name.has_lookalikes(),
            scopes,
            ignored: request.ignored.clone(),
            environment: request.environment,
            offered_environments: self.config.offered_environments(),
            lifetime,
            asked_at: request.created_at,
            asked_from: request.source,
            you_are_at: source,
            elsewhere: !same_place || request.source == Source::Hidden,
            flagged,
            hint_is_another: request.login_hint.as_ref().filter(|hint| **hint != account.email).map(ToString::to_string),
            first_agent,
            first_of_this_name: !grants.iter().any(|grant| grant.agent_name == request.agent_name),
            code_expires_at: attempt.expires_at,
            needs_code: risky && !attempt.typed,
            needs_password: risky && !session.is_fresh(now) && account.password.is_some(),
            digest: self.review_digest(account_id, request, attempt),
            account,
        })
    }

    /// Step 4a: Approve. Everything shown is checked again inside the transaction that decides.
    pub async fn approve(&self, session: &Session, id: RegistrationId, decision: Decision, source: Source) -> Result<(), Error> {
        let now = self.world.now();
        let (account_id, token) = (session.account, session.token);
        let chosen = chosen_scopes(&decision.scopes)?;
        let lifetime = self.chosen_lifetime(decision.lifetime)?;
        let environment = decision.environment;
        if environment.is_some_and(|e| !self.config.offered_environments().contains(&e)) {
            return Err(Error::invalid("environment", "is not offered here"));
        }
        let registration = self.store.read(|rows| rows::registration(rows, id)).await?.ok_or(Error::WrongCode)?;
        let (request, attempt) = registration.decidable(account_id, now)?;
        let digest = self.review_digest(account_id, request, attempt);
        if !bool::from(digest.as_bytes().ct_eq(decision.digest.as_bytes())) {
            return Err(Error::ReviewChanged);
        }
        let first_agent = !self.has_agents(account_id).await?;
        let risky = self.typed_needed(&chosen, lifetime.is_none(), first_agent);
        if risky {
            self.sign_in_again(session, decision.password, source).await?;
        }
        let needs_code = risky && !attempt.typed;
        let typed_code = decision.code.map(|code| self.hash_code(&code));
        let shown_attempt = attempt.id;
        let grant_id = GrantId::new(now, self.world.bytes());
        let salt = request.challenge.as_ref().map(|_| self.world.bytes());
        let format = self.config.key_format();
        let max_active = self.config.keys.max_active_per_account;
        let hint_rule = self.config.claim.login_hint;
        let random = self.world.bytes();
        self.store
            .write(move |rows| {
                let (session, account) = signed_in(rows, token, now)?;
                if risky {
                    must_be_fresh(&session, &account, now)?;
                }
                let registration = rows::registration(rows, id)?.ok_or(Error::WrongCode)?;
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
                    let limit = Limit::wrong_codes(account_id);
                    used_up(rows, std::slice::from_ref(&limit), now, TOO_MANY_CODES)?;
                    rows::charge(rows, &limit, now)?;
                    return Ok(Err(Error::WrongCode));
                }
                super::keys::room_for_one_more(rows, account_id, max_active, None, now)?;
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
                rows::save(
                    rows,
                    &Grant {
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
                    },
                )?;
                rows::save(rows, &registration.approve(approval, now)?)?;
                rows::count(rows, Counted::Approved, now)?;
                record(rows, account_id, Some(source), What::Approved { registration: id, grant: grant_id, agent }, now, random)?;
                Ok::<_, Error>(Ok(()))
            })
            .await?
    }

    /// The lifetime can be shortened, never lengthened.
    fn chosen_lifetime(&self, seconds: Option<i64>) -> Result<Option<SignedDuration>, Error> {
        let offered = self.config.claim.key_ttl.0;
        let Some(seconds) = seconds else { return Ok(offered) };
        match super::keys::checked_lifetime("lifetime", seconds)? {
            chosen if offered.is_some_and(|most| chosen > most) => {
                Err(Error::invalid("lifetime", "must be at least a minute and at most what was offered"))
            }
            chosen => Ok(Some(chosen)),
        }
    }

    /// Step 4b: Deny, or "I did not start this", which also flags where the request came from.
    pub async fn deny(&self, session: &Session, id: RegistrationId, disown: bool, source: Source) -> Result<(), Error> {
        let (now, account, token, random) = (self.world.now(), session.account, session.token, self.world.bytes());
        let hint_rule = self.config.claim.login_hint;
        self.store
            .write(move |rows| {
                rows.takes_away();
                let (_, decider) = signed_in(rows, token, now)?;
                let registration = rows::registration(rows, id)?.ok_or(Error::WrongCode)?;
                let (request, _) = registration.decidable(account, now)?;
                check_hint(hint_rule, &decider, request)?;
                let (agent, from) = (registration.request().agent_name.clone(), registration.request().source);
                let what = if disown {
                    // Of this computer the address says nothing: everything here comes from it.
                    if !from.is_this_computer() {
                        rows::flag(rows, &from, after(now, FLAGGED).as_second());
                    }
                    What::Disowned { registration: id, agent, from }
                } else {
                    What::Denied { registration: id, agent }
                };
                rows::save(rows, &registration.deny(account, now)?)?;
                rows::count(rows, Counted::Denied, now)?;
                Ok::<_, Error>(record(rows, account, Some(source), what, now, random)?)
            })
            .await
    }

    /// Step 4c: "not me, give it back".
    pub async fn release(&self, session: &Session, id: RegistrationId) -> Result<(), Error> {
        let (now, account, token) = (self.world.now(), session.account, session.token);
        self.store
            .write(move |rows| {
                signed_in(rows, token, now)?;
                let registration = rows::registration(rows, id)?.ok_or(Error::WrongCode)?;
                Ok::<_, Error>(rows::save(rows, &registration.release(account, now)?)?)
            })
            .await
    }

    /// What became of a registration this account decided: for the page after the decision.
    pub async fn decision(&self, session: &Session, id: RegistrationId) -> Result<Registration, Error> {
        let (account, token, now) = (session.account, session.token, self.world.now());
        let read = |rows: &dyn Read| {
            signed_in(rows, token, now)?;
            Ok::<_, Error>(rows::registration(rows, id)?)
        };
        let registration = self.store.read(read).await?;
        registration.filter(|r| r.account() == Some(account) && !matches!(r, Registration::Pending { .. })).ok_or(Error::WrongCode)
    }
}

/// With `claim.login_hint = "bind"` only the hinted account, its e-mail verified, may decide; nothing is shown to
/// others, and the code stays free for the one it names.
fn check_hint(rule: LoginHint, account: &Account, request: &Request) -> Result<(), Error> {
    match (rule, &request.login_hint) {
        (LoginHint::Bind, Some(hint)) if *hint != account.email || !account.email_verified => Err(Error::Forbidden {
            detail: "this request names another account, or your e-mail is not verified: sign in as the person your agent named".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn has_grants(rows: &dyn Read, account: AccountId) -> Result<bool, Error> {
    Ok(!rows::page::<Grant>(
        rows,
        Table::AccountGrants,
        &rows::entry(&[&account.to_string(), ""]),
        None,
        crate::store::Order::Ascending,
        1,
    )?
    .rows
    .is_empty())
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
