//! A further code for a registration.

use crate::{
    api::{claims::NewAttempt, error::Error, values::Time},
    domain::{
        id::{AttemptId, RegistrationId},
        idempotency::Outcome,
        key_stream::KeyStream,
        name::Email,
        registration::{
            request::Attempt,
            transitions::{Registration, TransitionError},
        },
        secret::ClaimToken,
        server_secret::Purpose,
        time::after,
        user_code::UserCode,
    },
    platform::runtime::Runtime,
    service::{
        claims::state::Claims,
        idempotency::{Operation, Turn},
    },
};
use jiff::Timestamp;

impl Claims {
    /// A first round with its code. Later ones take their number from the one before.
    pub(crate) fn fresh_attempt(&self, runtime: &Runtime, now: Timestamp) -> (UserCode, Attempt) {
        let mut stream = KeyStream::fresh(runtime.bytes());
        let code = UserCode::new(|| stream.byte());
        let attempt = Attempt {
            id: AttemptId::new(now, runtime.bytes()),
            code: self.context.secret.hash(Purpose::UserCode, code.letters().as_bytes()),
            started_at: now,
            expires_at: after(now, self.context.config.claim.code_ttl.0),
            number: 1,
            bound_to: None,
            typed: false,
        };
        (code, attempt)
    }

    /// Whether the code a registration has now can still be entered.
    pub async fn has_live_code(&self, id: RegistrationId) -> Result<bool, Error> {
        let now = self.context.runtime.now();
        let registration = self.context.store.read(|tx| tx.registrations().get(id)).await?;
        Ok(matches!(registration, Some(Registration::Pending { attempt, .. }) if now < attempt.expires_at))
    }

    /// Step 2: a fresh code for a registration that still waits.
    ///
    /// # Errors
    /// * [`Error::InvalidClaimToken`]: no registration has it.
    /// * [`Error::InvalidLoginHint`], [`Error::Invalid`]: no e-mail, or another than at the registration.
    /// * [`Error::ClaimExpired`]: the registration is over.
    /// * [`Error::TooManyAttempts`]: it gave out all its codes, or one just now.
    /// * [`Error::ClaimedOrInFlight`]: a human decides or has decided.
    pub async fn new_attempt(&self, token: &ClaimToken, login_hint: Option<String>, service_auth: bool) -> Result<NewAttempt, Error> {
        self.new_attempt_once(token, login_hint, service_auth, Operation::default()).await
    }

    /// The same, for a call that may be sent twice.
    ///
    /// # Errors
    /// As [`Self::new_attempt`].
    pub async fn new_attempt_once(
        &self,
        token: &ClaimToken,
        login_hint: Option<String>,
        service_auth: bool,
        operation: Operation,
    ) -> Result<NewAttempt, Error> {
        let hint = login_hint.map(|hint| hint.parse::<Email>().map_err(|_| Error::InvalidLoginHint)).transpose()?;
        let hash = self.context.secret.hash(Purpose::ClaimToken, token.expose().as_bytes());
        let Turn { runtime, note, done } = self.context.begin(operation).await?;
        let now = runtime.now();
        let (code, fresh) = self.fresh_attempt(&runtime, now);
        let attempt = fresh.clone();
        let (id, interval) = self
            .context
            .store
            .write(move |tx| {
                let registration = tx.registrations().by_claim_token(&hash)?.ok_or(Error::InvalidClaimToken)?;
                if hint.is_some() && hint != registration.request().login_hint {
                    return Err(Error::invalid("login_hint", "must be the one you registered with"));
                }
                let next = if done.is_some() {
                    registration
                } else {
                    let next = registration.new_attempt(fresh.clone(), now).map_err(|refused| match refused {
                        TransitionError::Over => Error::ClaimExpired,
                        TransitionError::TooManyAttempts { retry_after } => Error::TooManyAttempts { retry_after },
                        TransitionError::AlreadyDecided | TransitionError::InFlight | TransitionError::WrongCode => {
                            Error::ClaimedOrInFlight { already: service_auth }
                        }
                    })?;
                    tx.save(&next)?;
                    note.put(tx, Outcome::Drawn)?;
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
