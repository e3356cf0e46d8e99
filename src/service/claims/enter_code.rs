//! A human enters the code an agent showed.

use crate::{
    api::error::Error,
    config::settings::LoginHint,
    domain::{
        account::Account, activity::EventKind, digest::Digest, id::RegistrationId, registration::request::RegistrationRequest,
        scope::ScopeSet, server_secret::Purpose, session::BrowserSession, source::Source, throttle::Throttle, user_code::UserCode,
    },
    service::{
        claims::state::Claims,
        fresh_sign_in::signed_in,
        record_event::record,
        throttle::{charge_throttles, check_throttles, is_any_throttled},
    },
};

/// What a human is told whose account entered too many.
pub const TOO_MANY_CODES: &str = "too many wrong codes: wait an hour, or ask your agent for a fresh code then";

/// What came of a code.
enum Entered {
    Bound(RegistrationId),
    Wrong,
    /// One code was not enough, right or wrong.
    OneOfTwo,
}

impl Claims {
    /// What a code is stored under.
    pub(crate) fn hash_code(&self, code: &UserCode) -> Digest {
        self.context.secret.hash(Purpose::UserCode, code.letters().as_bytes())
    }

    /// Step 3: the right code binds the attempt to this account. A wrong one charges the guesser, never the attempt;
    /// expired, bound and unknown codes look the same. What can't be a code is no guess.
    ///
    /// While too many guess ([`Throttle::shared_wrong_codes`]) it takes two codes of the request, one after the other. The
    /// first, if it was right, is dead from then on, so the agent, which polls, is told to get a fresh one.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: that can't be a code.
    /// * [`Error::WrongCode`]: unknown, over, or another account's.
    /// * [`Error::FreshCodeNeeded`]: one code is not enough at the moment, right or wrong.
    /// * [`Error::TooMany`]: this account entered too many wrong ones, and learns nothing of this one.
    /// * [`Error::SignInNeeded`]: the session is over.
    pub async fn enter_code(
        &self,
        session: &BrowserSession,
        code: Option<UserCode>,
        typed: bool,
        source: Source,
    ) -> Result<RegistrationId, Error> {
        let (now, account, token) = (self.context.runtime.now(), session.account, session.token);
        let hash = self.hash_code(&code.ok_or_else(Error::unreadable_code)?);
        let random = self.context.runtime.bytes();
        let hint_rule = self.context.config.claim.login_hint;
        let pending = u64::try_from(self.registrations.pending()).unwrap_or(0);
        let entered = self
            .context
            .store
            .write(move |tx| {
                let (_, guesser) = signed_in(tx, token, now)?;
                let own = Throttle::wrong_codes(account);
                // Somebody over their own limit learns nothing, not even that the code is right: else they could guess on,
                // and only the misses would be hidden.
                check_throttles(tx, std::slice::from_ref(&own), now, TOO_MANY_CODES)?;
                let shared = Throttle::shared_wrong_codes(&guesser, &source, now, pending);
                let one_is_enough = !is_any_throttled(tx, &shared, now)?;
                if let Some(registration) = tx.registrations().by_user_code(&hash)?
                    && let Ok(bound) = registration.clone().bind(account, typed, now)
                {
                    let half = Throttle::half_entered(account, bound.request());
                    if one_is_enough || registration.account() == Some(account) || is_any_throttled(tx, &half, now)? {
                        check_hint(hint_rule, &guesser, bound.request())?;
                        tx.save(&bound)?;
                        return Ok(Entered::Bound(bound.id()));
                    }
                    charge_throttles(tx, &half, now)?;
                    tx.save(&registration.spend_code(now))?;
                }
                tx.charge(&own, now)?;
                if tx.throttles().charged(&own, now)? == own.max {
                    record(tx, account, Some(source), EventKind::TooManyWrongCodes, now, random)?;
                }
                if !one_is_enough {
                    return Ok(Entered::OneOfTwo);
                }
                charge_throttles(tx, &shared, now)?;
                if is_any_throttled(tx, &shared, now)? {
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

    /// Whether following a link is not enough: whoever sends a link with a code in it must not get more than a harmless key by one
    /// press of a button.
    pub(crate) fn typed_needed(&self, scopes: &ScopeSet, unlimited: bool, first_agent: bool) -> bool {
        unlimited || first_agent || scopes.iter().any(|scope| self.context.catalogue.is_risky(scope))
    }
}

/// With `claim.login_hint = "bind"` only the hinted account, its e-mail verified, may decide; nothing is shown to
/// others, and the code stays free for the one it names.
///
/// # Errors
/// [`Error::Forbidden`]: this account is not the one that is named, or its e-mail is not verified.
pub fn check_hint(rule: LoginHint, account: &Account, request: &RegistrationRequest) -> Result<(), Error> {
    match (rule, &request.login_hint) {
        (LoginHint::Bind, Some(hint)) if *hint != account.email || !account.email_verified => Err(Error::Forbidden {
            detail: "this request names another account, or your e-mail is not verified: sign in as the person your agent named".to_owned(),
        }),
        _ => Ok(()),
    }
}
