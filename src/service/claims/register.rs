//! The agent's side of the ceremony, first half: register, ask for a fresh code.

use crate::{
    api::{
        claims::{ClaimBlock, Registered},
        error::Error,
        values::{Revealed, Time},
    },
    config::settings::UnknownScopes,
    domain::{
        daily_count::CountedEvent,
        environment::Environment,
        id::{AccountId, RegistrationId},
        idempotency::Outcome,
        name::{Email, Name},
        pkce::CodeChallenge,
        registration::{
            request::{Attempt, Handle, RegistrationRequest},
            transitions::Registration,
        },
        scope::ScopeSet,
        secret::{ClaimHandle, ClaimToken},
        server_secret::Purpose,
        source::Source,
        throttle::Throttle,
        time::after,
        user_code::UserCode,
    },
    service::{
        claims::state::Claims,
        idempotency::{Operation, Turn},
        throttle::{charge_throttles, check_throttles},
    },
    store::access::Write,
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
pub struct NewRegistration {
    pub agent_name: String,
    /// `None`: the configured least set.
    pub scopes: Option<Vec<String>>,
    pub login_hint: Option<String>,
    pub environment: Option<Environment>,
    pub challenge: Option<CodeChallenge>,
    /// Opened over MCP: the claim token is derived, the client polls with the handle.
    pub handle: Option<NewHandle>,
}

/// A handle before it is stored.
#[derive(Debug, Clone)]
pub struct NewHandle {
    pub handle: ClaimHandle,
    pub bound_to: Option<String>,
}

impl Claims {
    fn ask_scopes(&self, scopes: Option<Vec<String>>) -> Result<(ScopeSet, Vec<String>), Error> {
        let Some(requested) = scopes else {
            return Ok((self.context.catalogue.least(), Vec::new()));
        };
        if requested.len() > ScopeSet::MAX_REQUESTED {
            return Err(Error::invalid("scope", format!("holds more than {} scopes", ScopeSet::MAX_REQUESTED)));
        }
        let available = || self.context.catalogue.for_agents();
        let offer = self.context.catalogue.offer(&requested).map_err(|error| Error::invalid_scope(error.to_string(), available()))?;
        let rejected = !offer.ignored.is_empty() && self.context.config.claim.unknown_scopes == UnknownScopes::Reject;
        if offer.scopes.is_empty() || rejected {
            let detail = if offer.ignored.is_empty() {
                "`scope` names nothing".to_owned()
            } else {
                format!("not available to agents here: {}", offer.ignored.join(" "))
            };
            return Err(Error::invalid_scope(detail, available()));
        }
        Ok((offer.scopes, offer.ignored))
    }

    /// How many registrations an hour this caller may make; none: uncounted.
    fn registration_limits(&self, who: &Registrant) -> Vec<Throttle> {
        let usual = self.context.config.limits.registrations_per_hour;
        if usual == 0 {
            return Vec::new();
        }
        match (who.account, who.source) {
            (Some(account), _) => Throttle::registrations_of_account(account, usual),
            (None, Source::Local) => Vec::new(),
            (None, Source::Hidden) => Throttle::registrations(&who.source, usual, None),
            (None, Source::Address(ip)) => {
                let raised: Vec<_> = self.context.config.limits.sources.iter().filter(|(net, _)| net.contains(&ip)).collect();
                let max = raised.iter().map(|(_, max)| **max).max().unwrap_or(usual);
                // A whole /48 that was raised is one caller.
                let of_network = raised.iter().filter(|(net, _)| net.prefix_len() <= 48).map(|(_, max)| **max).max();
                if max > 0 { Throttle::registrations(&who.source, max, of_network) } else { Vec::new() }
            }
        }
    }

    /// What the agent shows its human (RFC 8628 §3.2).
    pub(crate) fn claim_block(&self, code: &UserCode, attempt: &Attempt, interval: u16, now: Timestamp) -> ClaimBlock {
        let page = format!("{}/claim", self.context.config.pages_url);
        ClaimBlock {
            user_code: Revealed::new(&code.expose()),
            verification_uri_complete: Revealed::new(&format!("{page}?code={}", code.expose())),
            verification_uri: page,
            expires_in: attempt.expires_at.duration_since(now).as_secs(),
            interval,
        }
    }

    /// Step 1 of the ceremony. One commit; grants nothing.
    ///
    /// # Errors
    /// * [`Error::Invalid`], [`Error::InvalidLoginHint`]: name, environment, e-mail, or too many scopes.
    /// * [`Error::InvalidScope`]: none that agents may have, or one that is no scope.
    /// * [`Error::TooMany`]: the address or the account registered too often.
    pub async fn register(&self, ask: NewRegistration, who: Registrant) -> Result<Registered, Error> {
        self.register_once(ask, who, Operation::default()).await
    }

    /// The same, for a call that may be sent twice.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub async fn register_once(&self, ask: NewRegistration, who: Registrant, operation: Operation) -> Result<Registered, Error> {
        let agent_name = Name::of_agent(&ask.agent_name).map_err(|error| Error::invalid("agent_name", format!("{error}")))?;
        let (scopes, ignored) = self.ask_scopes(ask.scopes)?;
        if scopes.is_empty() {
            let detail = "no default scopes are configured, so name those you need";
            return Err(Error::invalid_scope(detail, self.context.catalogue.for_agents()));
        }
        let login_hint = ask.login_hint.map(|hint| hint.parse::<Email>().map_err(|_| Error::InvalidLoginHint)).transpose()?;
        let Turn { runtime, note, done } = self.context.begin(operation).await?;
        let now = runtime.now();
        let id = RegistrationId::new(now, runtime.bytes());
        let claim_token = match &ask.handle {
            Some(_) => self.context.secret.claim_token(id),
            None => ClaimToken::new(runtime.bytes()),
        };
        let (code, attempt) = self.fresh_attempt(&runtime, now);
        let interval = self.context.config.claim.interval;
        let claim = self.claim_block(&code, &attempt, interval, now);
        let request = RegistrationRequest {
            id,
            created_at: now,
            expires_at: after(now, self.context.config.claim.registration_ttl.0),
            agent_name,
            scopes: scopes.clone(),
            ignored: ignored.clone(),
            login_hint,
            environment: ask.environment.unwrap_or(self.context.config.environment),
            source: who.source,
            before: 0,
            claim_token: self.context.secret.hash(Purpose::ClaimToken, claim_token.expose().as_bytes()),
            challenge: ask.challenge,
            handle: ask.handle.map(|made| Handle {
                hash: self.context.secret.hash(Purpose::ClaimHandle, made.handle.expose().as_bytes()),
                bound_to: made.bound_to,
            }),
        };
        if !self.context.config.offered_environments().contains(&request.environment) {
            let offered: Vec<_> = self.context.config.offered_environments().iter().map(|e| e.as_str()).collect();
            return Err(Error::invalid("environment", format!("must be one of: {}", offered.join(", "))));
        }
        let (expires, environment) = (request.expires_at, request.environment);
        let limits = self.registration_limits(&who);
        let full = self.registrations.pending() >= i64::from(self.context.config.limits.pending_registrations);
        let registration = Registration::open(request, attempt, interval);
        if done.is_none() {
            self.context
                .store
                .write(move |tx| {
                    check_throttles(
                        tx,
                        &limits,
                        now,
                        "too many registrations from this address: wait, or present a key to count per account",
                    )?;
                    let before = limits
                        .iter()
                        .map(|limit| tx.throttles().charged(limit, now))
                        .try_fold(0, |most, n| Ok::<_, Error>(n?.max(most)))?;
                    charge_throttles(tx, &limits, now)?;
                    if full {
                        end_one(tx)?;
                    }
                    tx.save(&registration.clone().after_others(before))?;
                    tx.count_event(CountedEvent::Requested, now)?;
                    note.put(tx, Outcome::Drawn)?;
                    Ok::<_, Error>(())
                })
                .await?;
        }
        Ok(Registered {
            registration_id: id,
            registration_type: "service_auth".to_owned(),
            claim_token: Revealed::new(claim_token.expose()),
            claim_token_expires: Time(expires),
            claim_url: format!("{}/agent/identity/claim", self.context.config.public_url),
            post_claim_scopes: scopes,
            ignored_scopes: ignored,
            environment,
            next: format!(
                "Show your human the link {} and the code {} exactly as they are, then poll {}/oauth2/token every {interval} seconds with your claim_token.",
                claim.verification_uri,
                claim.user_code.expose(),
                self.context.config.public_url,
            ),
            claim,
        })
    }
}

/// Makes room at the ceiling: one pending registration ends now, of those who asked most often the oldest. Who asked
/// once this hour is ended only where everybody did.
fn end_one(tx: &mut dyn Write) -> Result<(), Error> {
    if let Some(Registration::Pending { request, .. }) = tx.registrations().first_to_go()? {
        tx.save(&Registration::Expired { request })?;
    }
    Ok(())
}
