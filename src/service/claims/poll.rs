//! The other end of the ceremony: polls, the one delivery, its repetition, and the pickup from a shell.

use crate::{
    api::{claims::Delivered, error::Error},
    domain::{
        activity::EventKind,
        id::{AccountId, RegistrationId},
        registration::{
            poll::{NextStep, Poll, slower},
            transitions::Registration,
        },
        secret::{ClaimHandle, ClaimToken, CodeVerifier},
        server_secret::Purpose,
        source::Source,
        throttle::Throttle,
    },
    service::{
        claims::decision_waiters::WaiterSource, claims::registrations::RegistrationCounts, claims::state::Claims, record_event::record,
    },
};
use jiff::Timestamp;
use std::time::Duration;

/// Polls of one claim that wait at once, from programs that ask over HTTP: an agent that repeats itself, or two of them.
const MAX_WAITING_PER_CLAIM: usize = 4;

impl Claims {
    /// Step 5: one poll. An approved registration is delivered in the reply.
    ///
    /// # Errors
    /// RFC 8628 §3.5, in Rust:
    /// * [`Error::AuthorizationPending`], [`Error::SlowDown`], [`Error::AccessDenied`], [`Error::ExpiredToken`].
    /// * [`Error::InvalidGrant`]: an unknown token, a wrong verifier, or a key that was delivered.
    /// * [`Error::TooMany`]: too many unknown tokens from this address.
    /// * Of a delivery: [`Error::AccessDenied`] again, and [`Error::Conflict`] where the account has as many keys as it may.
    pub async fn poll(&self, token: &ClaimToken, verifier: Option<&CodeVerifier>, source: Source) -> Result<Delivered, Error> {
        self.poll_paced(token, verifier, source, true).await
    }

    async fn poll_paced(
        &self,
        token: &ClaimToken,
        verifier: Option<&CodeVerifier>,
        source: Source,
        paced: bool,
    ) -> Result<Delivered, Error> {
        let hash = self.context.secret.hash(Purpose::ClaimToken, token.expose().as_bytes());
        let now = self.context.runtime.now();
        let held = self.claim_cache.read(&hash, |open| match open.waiting.poll(verifier, false, now) {
            Poll::Pending { interval } => {
                let too_early = paced && open.polled_too_early(interval, now);
                Some((interval, too_early.then_some((open.waiting.id, open.waiting.is_slowest()))))
            }
            _ => None,
        });
        if let Some((interval, too_early)) = held.flatten() {
            return match too_early {
                None => Err(Error::AuthorizationPending { interval }),
                // Nothing changes any more, so nothing is written.
                Some((_, true)) => Err(Error::SlowDown { interval }),
                Some((id, false)) => {
                    // The change drops what is held.
                    self.registrations.polled_too_early(id, interval, now);
                    self.slow_down(id, slower(interval)).await
                }
            };
        }
        let (registration, read_at) = self.context.store.read_at(|tx| tx.registrations().by_claim_token(&hash)).await?;
        let Some(registration) = registration else {
            self.unknown_tokens.charge(&source)?;
            return Err(Error::InvalidGrant);
        };
        let mut answer = registration.poll(verifier, false, now);
        // Only polls that prove themselves are paced: a stolen claim token slows nobody down.
        let mut polled = None;
        if let Poll::Pending { interval } = answer
            && paced
        {
            polled = Some(now);
            if self.registrations.polled_too_early(registration.id(), interval, now) {
                answer = registration.poll(verifier, true, now);
            }
        }
        if answer != Poll::WrongVerifier
            && let Some(waiting) = registration.waiting()
        {
            self.claim_cache.keep(&hash, waiting, polled, read_at);
        }
        match answer {
            Poll::WrongVerifier => {
                if let Err(error) = self.note_wrong_verifier(&registration, source, now).await {
                    tracing::warn!(%error, "a poll with a wrong verifier is in no activity");
                }
                Err(Error::InvalidGrant)
            }
            Poll::Spent => Err(Error::InvalidGrant),
            Poll::Denied => Err(Error::AccessDenied),
            Poll::Expired(retry) => {
                self.latest_time.note_end(now).await;
                Err(Error::ExpiredToken { register: retry == NextStep::Register })
            }
            Poll::Pending { interval } => Err(Error::AuthorizationPending { interval }),
            Poll::SlowDown { interval } => self.slow_down(registration.id(), interval).await,
            Poll::Again { key, salt } => self.deliver_again(&registration, key, &salt, verifier).await,
            Poll::Deliver => self.deliver(registration.id(), verifier, None, source).await,
        }
    }

    /// Polls until the decision, at most `wait`. Woken by the decision itself; the pacing of polls is the server's own
    /// here. With no place to wait in it is an ordinary poll, answered at once.
    ///
    /// # Errors
    /// As [`Self::poll`]; [`Error::AuthorizationPending`] when the time is over, or the process about to end.
    pub async fn poll_until(
        &self,
        token: &ClaimToken,
        verifier: Option<&CodeVerifier>,
        source: Source,
        wait: Duration,
    ) -> Result<Delivered, Error> {
        let hash = self.context.secret.hash(Purpose::ClaimToken, token.expose().as_bytes());
        let known = self.context.store.read(|tx| tx.registrations().by_claim_token(&hash)).await?;
        // Only who proves itself takes a place from anybody.
        let place = known.as_ref().and_then(|known| match known.poll(verifier, false, self.context.runtime.now()) {
            Poll::Pending { interval } => {
                Some((self.registrations.waiters.join(known.id(), &WaiterSource::of(source, None), MAX_WAITING_PER_CLAIM)?, interval))
            }
            _ => None,
        });
        let Some((waiter, interval)) = place else { return self.poll_paced(token, verifier, source, true).await };
        // A wait shorter than the interval is an ordinary poll, and paced like one.
        let mut paced = wait.as_secs() < u64::from(interval);
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            let decided = waiter.on_decision();
            tokio::pin!(decided);
            decided.as_mut().enable();
            match self.poll_paced(token, verifier, source, std::mem::take(&mut paced)).await {
                Err(Error::AuthorizationPending { interval }) => tokio::select! {
                    () = &mut decided => {}
                    () = &mut deadline => return Err(Error::AuthorizationPending { interval }),
                    () = waiter.displaced() => return Err(Error::AuthorizationPending { interval }),
                    () = self.draining.cancelled() => return Err(Error::AuthorizationPending { interval }),
                },
                answer => return answer,
            }
        }
    }

    /// `expected`: what the interval becomes, unless another poll slowed it down meanwhile.
    async fn slow_down(&self, id: RegistrationId, expected: u16) -> Result<Delivered, Error> {
        let interval = self
            .context
            .store
            .write(move |tx| {
                let registration = tx.registrations().get(id)?.ok_or(Error::InvalidGrant)?.slowed();
                tx.save(&registration)?;
                match registration {
                    Registration::Pending { interval, .. } => Ok(interval),
                    // Decided meanwhile: the next poll is told, and not at once (RFC 8628 section 3.5).
                    _ => Ok::<_, Error>(expected),
                }
            })
            .await?;
        Err(Error::SlowDown { interval })
    }

    /// Somebody holds the claim token without its verifier: the owner, once known, reads it in the activity.
    async fn note_wrong_verifier(&self, registration: &Registration, source: Source, now: Timestamp) -> Result<(), Error> {
        let request = registration.request();
        tracing::warn!(registration = %request.id, "poll with a wrong or missing code verifier");
        let Some(account) = registration.account() else { return Ok(()) };
        let what = EventKind::WrongVerifier { registration: request.id, agent: request.agent_name.clone() };
        let random = self.context.runtime.bytes();
        // The log says so without being a way to fill the disk.
        let limit = Throttle::wrong_verifier_notes(request.id);
        self.context
            .store
            .write(move |tx| {
                if tx.throttles().charged(&limit, now)? < limit.max {
                    tx.charge(&limit, now)?;
                    record(tx, account, Some(source), what.clone(), now, random)?;
                }
                Ok::<_, Error>(())
            })
            .await
    }

    /// The registration an MCP client's handle leads to; a foreign handle looks like an unknown one.
    ///
    /// # Errors
    /// [`Error::NotFound`], whichever it is.
    pub async fn find_by_handle(&self, handle: &ClaimHandle, caller: Option<&str>) -> Result<Registration, Error> {
        let hash = self.context.secret.hash(Purpose::ClaimHandle, handle.expose().as_bytes());
        let registration = self.context.store.read(|tx| tx.registrations().by_handle(&hash)).await?;
        registration
            .filter(|registration| registration.request().handle.as_ref().is_some_and(|handle| handle.admits(caller)))
            .ok_or_else(|| Error::not_found("claim"))
    }

    /// What a registration's poll would say, without delivering.
    ///
    /// # Errors
    /// [`Error::NotFound`]: it was forgotten, a day after its end.
    pub async fn registration(&self, id: RegistrationId) -> Result<Registration, Error> {
        self.context.store.read(|tx| tx.registrations().get(id)).await?.ok_or_else(|| Error::not_found("claim"))
    }

    /// Waits for the decision on a registration, at most `wait`; without a place to wait in, not at all.
    ///
    /// # Errors
    /// As [`Self::registration`].
    pub async fn wait_for_decision(
        &self,
        id: RegistrationId,
        source: &Source,
        account: Option<AccountId>,
        wait: Duration,
    ) -> Result<Registration, Error> {
        let who = WaiterSource::of(*source, account);
        let place = if wait.is_zero() { None } else { self.registrations.waiters.join(id, &who, 1) };
        let Some(waiter) = place else { return self.registration(id).await };
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            let decided = waiter.on_decision();
            tokio::pin!(decided);
            decided.as_mut().enable();
            let registration = self.registration(id).await?;
            if !matches!(registration, Registration::Pending { .. }) {
                return Ok(registration);
            }
            tokio::select! {
                // Its row changed: decided, or only looked at.
                () = decided => {}
                () = &mut deadline => return self.registration(id).await,
                () = waiter.displaced() => return self.registration(id).await,
                () = self.draining.cancelled() => return self.registration(id).await,
            }
        }
    }

    /// The claim token of a registration opened over MCP.
    pub fn claim_token_of(&self, id: RegistrationId) -> ClaimToken {
        self.context.secret.claim_token(id)
    }

    /// The masked e-mail of whoever decided.
    pub async fn approver(&self, id: RegistrationId) -> Result<Option<String>, Error> {
        self.context
            .store
            .read(|tx| {
                let Some(account) = tx.registrations().get(id)?.and_then(|registration| registration.account()) else { return Ok(None) };
                Ok(tx.accounts().get(account)?.map(|account| account.named()))
            })
            .await
    }
}

impl Claims {
    /// How many polls wait for a human now.
    pub fn waiting(&self) -> usize {
        self.registrations.waiters.count()
    }

    /// What is known of registrations without looking.
    pub fn registrations(&self) -> RegistrationCounts {
        self.registrations.counts()
    }
}
