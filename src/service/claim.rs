//! The agent's side of the ceremony, first half: register, ask for a fresh code.

use super::{
    Error, Operation, Service,
    operation::Turn,
    used_up,
    view::{ClaimBlock, NewAttempt, Registered, Revealed, Time},
};
use crate::{
    config::UnknownScopes,
    domain::{
        id::{AccountId, AttemptId, RegistrationId},
        key::Environment,
        limit::Limit,
        name::{Email, Name},
        operation::Outcome,
        registration::{Attempt, Handle, Refused, Registration, Request, UserCode},
        scope::ScopeSet,
        secret::{ClaimHandle, ClaimToken, CodeChallenge, KeyStream, Purpose},
        source::Source,
        tally::Counted,
        time::after,
    },
    store::{Order, Read, Table, Write, rows},
    world::World,
};
use jiff::Timestamp;

/// Who registers, for limits and for the human to see.
#[derive(Debug, Clone, Copy)]
pub struct Registrant {
    pub source: Source,
    /// A caller with a key counts per account, not per address.
    pub account: Option<AccountId>,
}

/// What an agent asks for, as it came over the wire.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    pub agent_name: String,
    /// `None`: the configured least set.
    pub scopes: Option<Vec<String>>,
    pub login_hint: Option<String>,
    pub environment: Option<Environment>,
    pub challenge: Option<CodeChallenge>,
    /// Opened over MCP: the claim token is derived, the client polls with the handle.
    pub handle: Option<MadeHandle>,
}

/// A handle before it is stored.
#[derive(Debug, Clone)]
pub struct MadeHandle {
    pub handle: ClaimHandle,
    pub bound_to: Option<String>,
}

impl Service {
    fn ask_scopes(&self, scopes: Option<Vec<String>>) -> Result<(ScopeSet, Vec<String>), Error> {
        let Some(requested) = scopes else {
            return Ok((self.catalogue.least(), Vec::new()));
        };
        if requested.len() > ScopeSet::MAX_REQUESTED {
            return Err(Error::invalid("scope", format!("holds more than {} scopes", ScopeSet::MAX_REQUESTED)));
        }
        let available = || self.catalogue.for_agents();
        let offer =
            self.catalogue.offer(&requested).map_err(|error| Error::InvalidScope { detail: error.to_string(), available: available() })?;
        let rejected = !offer.ignored.is_empty() && self.config.claim.unknown_scopes == UnknownScopes::Reject;
        if offer.scopes.is_empty() || rejected {
            let detail = if offer.ignored.is_empty() {
                "`scope` names nothing".to_owned()
            } else {
                format!("not available to agents here: {}", offer.ignored.join(" "))
            };
            return Err(Error::InvalidScope { detail, available: available() });
        }
        Ok((offer.scopes, offer.ignored))
    }

    /// How many registrations an hour this caller may make; none: uncounted.
    fn registration_limits(&self, who: &Registrant) -> Vec<Limit> {
        let usual = self.config.limits.registrations_per_hour;
        if usual == 0 {
            return Vec::new();
        }
        match (who.account, who.source) {
            (Some(account), _) => Limit::registrations_of_account(account, usual),
            (None, Source::Local) => Vec::new(),
            (None, Source::Hidden) => Limit::registrations(&who.source, usual, None),
            (None, Source::Address(ip)) => {
                let raised: Vec<_> = self.config.limits.sources.iter().filter(|(net, _)| net.contains(&ip)).collect();
                let max = raised.iter().map(|(_, max)| **max).max().unwrap_or(usual);
                // A whole /48 that was raised is one caller.
                let of_network = raised.iter().filter(|(net, _)| net.prefix_len() <= 48).map(|(_, max)| **max).max();
                if max > 0 { Limit::registrations(&who.source, max, of_network) } else { Vec::new() }
            }
        }
    }

    fn fresh_attempt(&self, world: &World, now: Timestamp) -> (UserCode, Attempt) {
        let mut stream = KeyStream::fresh(world.bytes());
        let code = UserCode::new(|| stream.byte());
        let attempt = Attempt {
            id: AttemptId::new(now, world.bytes()),
            code: self.secret.hash(Purpose::UserCode, code.letters().as_bytes()),
            started_at: now,
            expires_at: after(now, self.config.claim.code_ttl.0),
            number: 1,
            bound_to: None,
            typed: false,
        };
        (code, attempt)
    }

    fn claim_block(&self, code: &UserCode, attempt: &Attempt, interval: u16, now: Timestamp) -> ClaimBlock {
        let page = format!("{}/claim", self.config.pages_url);
        ClaimBlock {
            user_code: Revealed::new(&code.expose()),
            verification_uri_complete: Revealed::new(&format!("{page}?code={}", code.expose())),
            verification_uri: page,
            expires_in: attempt.expires_at.duration_since(now).as_secs(),
            interval,
        }
    }

    /// Step 1 of the ceremony. One commit; grants nothing.
    pub async fn register(&self, ask: Ask, who: Registrant) -> Result<Registered, Error> {
        self.register_once(ask, who, Operation::default()).await
    }

    pub async fn register_once(&self, ask: Ask, who: Registrant, operation: Operation) -> Result<Registered, Error> {
        let agent_name = Name::of_agent(&ask.agent_name).map_err(|error| Error::invalid("agent_name", format!("{error}")))?;
        let (scopes, ignored) = self.ask_scopes(ask.scopes)?;
        if scopes.is_empty() {
            let detail = "no default scopes are configured, so name those you need".to_owned();
            return Err(Error::InvalidScope { detail, available: self.catalogue.for_agents() });
        }
        let login_hint = ask.login_hint.map(|hint| hint.parse::<Email>().map_err(|_| Error::InvalidLoginHint)).transpose()?;
        let Turn { world, note, done } = self.turn(operation).await?;
        let now = world.now();
        let id = RegistrationId::new(now, world.bytes());
        let claim_token = match &ask.handle {
            Some(_) => self.secret.claim_token(id),
            None => ClaimToken::new(world.bytes()),
        };
        let (code, attempt) = self.fresh_attempt(&world, now);
        let interval = self.config.claim.interval;
        let claim = self.claim_block(&code, &attempt, interval, now);
        let request = Request {
            id,
            created_at: now,
            expires_at: after(now, self.config.claim.registration_ttl.0),
            agent_name,
            scopes: scopes.clone(),
            ignored: ignored.clone(),
            login_hint,
            environment: ask.environment.unwrap_or(self.config.environment),
            source: who.source,
            before: 0,
            claim_token: self.secret.hash(Purpose::ClaimToken, claim_token.expose().as_bytes()),
            challenge: ask.challenge,
            handle: ask.handle.map(|made| Handle {
                hash: self.secret.hash(Purpose::ClaimHandle, made.handle.expose().as_bytes()),
                bound_to: made.bound_to,
            }),
        };
        if !self.config.offered_environments().contains(&request.environment) {
            let offered: Vec<_> = self.config.offered_environments().iter().map(|e| e.as_str()).collect();
            return Err(Error::invalid("environment", format!("must be one of: {}", offered.join(", "))));
        }
        let (expires, environment) = (request.expires_at, request.environment);
        let limits = self.registration_limits(&who);
        let full = self.registrations.pending() >= i64::from(self.config.limits.pending_registrations);
        let registration = Registration::open(request, attempt, interval);
        if done.is_none() {
            self.store
                .write(move |rows| {
                    used_up(rows, &limits, now, "too many registrations from this address: wait, or present a key to count per account")?;
                    let before =
                        limits.iter().map(|limit| rows::charged(rows, limit, now)).try_fold(0, |most, n| Ok::<_, Error>(n?.max(most)))?;
                    super::charge_all(rows, &limits, now)?;
                    if full {
                        end_one(rows)?;
                    }
                    rows::save(rows, &registration.clone().after_others(before))?;
                    rows::count(rows, Counted::Requested, now)?;
                    note.put(rows, Outcome::Drawn)?;
                    Ok::<_, Error>(())
                })
                .await?;
        }
        Ok(Registered {
            registration_id: id,
            registration_type: "service_auth".to_owned(),
            claim_token: Revealed::new(claim_token.expose()),
            claim_token_expires: Time(expires),
            claim_url: format!("{}/agent/identity/claim", self.config.public_url),
            post_claim_scopes: scopes,
            ignored_scopes: ignored,
            environment,
            next: format!(
                "Show your human the link {} and the code {} exactly as they are, then poll {}/oauth2/token every {interval} seconds with your claim_token.",
                claim.verification_uri,
                claim.user_code.expose(),
                self.config.public_url,
            ),
            claim,
        })
    }

    /// Whether the code a registration has now can still be entered.
    pub async fn has_live_code(&self, id: RegistrationId) -> Result<bool, Error> {
        let now = self.world.now();
        let registration = self.store.read(|rows| rows::registration(rows, id)).await?;
        Ok(matches!(registration, Some(Registration::Pending { attempt, .. }) if now < attempt.expires_at))
    }

    /// Step 2: a fresh code for a registration that still waits.
    pub async fn new_attempt(&self, token: &ClaimToken, login_hint: Option<String>, service_auth: bool) -> Result<NewAttempt, Error> {
        self.new_attempt_once(token, login_hint, service_auth, Operation::default()).await
    }

    pub async fn new_attempt_once(
        &self,
        token: &ClaimToken,
        login_hint: Option<String>,
        service_auth: bool,
        operation: Operation,
    ) -> Result<NewAttempt, Error> {
        let hint = login_hint.map(|hint| hint.parse::<Email>().map_err(|_| Error::InvalidLoginHint)).transpose()?;
        let hash = self.secret.hash(Purpose::ClaimToken, token.expose().as_bytes());
        let Turn { world, note, done } = self.turn(operation).await?;
        let now = world.now();
        let (code, fresh) = self.fresh_attempt(&world, now);
        let attempt = fresh.clone();
        let (id, interval) = self
            .store
            .write(move |rows| {
                let registration = rows::registration_by(rows, Table::ClaimTokens, &hash)?.ok_or(Error::InvalidClaimToken)?;
                if hint.is_some() && hint != registration.request().login_hint {
                    return Err(Error::invalid("login_hint", "must be the one you registered with"));
                }
                let next = if done.is_some() {
                    registration
                } else {
                    let next = registration.new_attempt(fresh.clone(), now).map_err(|refused| match refused {
                        Refused::Over => Error::ClaimExpired,
                        Refused::TooManyAttempts { retry_after } => Error::TooManyAttempts { retry_after },
                        Refused::AlreadyDecided | Refused::InFlight | Refused::WrongCode => {
                            Error::ClaimedOrInFlight { already: service_auth }
                        }
                    })?;
                    rows::save(rows, &next)?;
                    note.put(rows, Outcome::Drawn)?;
                    next
                };
                match next {
                    Registration::Pending { request, interval, .. } => Ok((request.id, interval)),
                    // Decided between the two times it was asked.
                    _ => Err(Error::ClaimedOrInFlight { already: service_auth }),
                }
            })
            .await?;
        let block = self.claim_block(&code, &attempt, interval, now);
        Ok(NewAttempt {
            registration_id: id,
            claim_attempt_id: attempt.id.to_string(),
            status: "initiated".to_owned(),
            expires_at: Time(attempt.expires_at),
            next: format!(
                "The old code is dead. Show your human the link {} and the new code {}, then go on polling.",
                block.verification_uri,
                block.user_code.expose()
            ),
            attempt: block.clone(),
            claim_attempt: block,
        })
    }
}

/// Makes room at the ceiling: one pending registration ends now, of those who asked most often the oldest. Who asked
/// once this hour is ended only where everybody did.
fn end_one(rows: &mut dyn Write) -> Result<(), Error> {
    let first = |table| (rows as &dyn Read).scan(table, &[], None, Order::Ascending, 1);
    let crowded = first(Table::CrowdedPending)?;
    let oldest = if crowded.is_empty() { first(Table::Pending)? } else { crowded };
    let Some((_, key)) = oldest.first() else { return Ok(()) };
    if let Some(Registration::Pending { request, .. }) = rows::load::<Registration>(rows, key)? {
        rows::save(rows, &Registration::Expired { request })?;
    }
    Ok(())
}
