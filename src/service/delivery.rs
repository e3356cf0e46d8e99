//! The other end of the ceremony: polls, the one delivery, its repetition, and the pickup from a shell.

use super::{
    Error, Service, record,
    view::{Delivered, Revealed, Time},
    waiters::Who,
};
use crate::{
    domain::{
        activity::What,
        id::{AccountId, KeyId, RegistrationId},
        key::{Key, Origin},
        limit::Limit,
        registration::{Approval, PICKUP_TTL, Pickup, Poll, Registration, Retry},
        secret::{ApiKey, ClaimHandle, ClaimToken, CodeVerifier, KeyStream, PickupToken, Purpose},
        source::Source,
        time::after,
    },
    store::{Table, Write, rows},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Polls of one claim that wait at once, from programs that ask over HTTP: an agent that repeats itself, or two of them.
const AT_ONCE: usize = 4;

impl Service {
    /// Step 5: one poll. An approved registration is delivered in the reply.
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
        let hash = self.secret.hash(Purpose::ClaimToken, token.expose().as_bytes());
        let now = self.world.now();
        let held = self.open_claims.read(&hash, |open| match open.waiting.poll(verifier, false, now) {
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
                    self.slow_down(id).await
                }
            };
        }
        let since = self.open_claims.epoch.now();
        let registration = self.store.read(|rows| rows::registration_by(rows, Table::ClaimTokens, &hash)).await?;
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
            self.open_claims.keep(&hash, waiting, polled, since);
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
                self.note_end(now).await;
                Err(Error::ExpiredToken { register: retry == Retry::Register })
            }
            Poll::Pending { interval } => Err(Error::AuthorizationPending { interval }),
            Poll::SlowDown => self.slow_down(registration.id()).await,
            Poll::Again { key, salt } => self.deliver_again(&registration, key, &salt, verifier).await,
            Poll::Deliver => self.deliver(registration.id(), verifier, None, source).await,
        }
    }

    /// Polls until the decision, at most `wait`. Woken by the decision itself; the pacing of polls is the server's own
    /// here. With no place to wait in it is an ordinary poll, answered at once.
    pub async fn poll_until(
        &self,
        token: &ClaimToken,
        verifier: Option<&CodeVerifier>,
        source: Source,
        wait: Duration,
    ) -> Result<Delivered, Error> {
        let hash = self.secret.hash(Purpose::ClaimToken, token.expose().as_bytes());
        let known = self.store.read(|rows| rows::registration_by(rows, Table::ClaimTokens, &hash)).await?;
        // Only who proves itself takes a place from anybody.
        let place = known.as_ref().and_then(|known| match known.poll(verifier, false, self.world.now()) {
            Poll::Pending { interval } => Some((self.registrations.waiters.join(known.id(), &Who::of(source, None), AT_ONCE)?, interval)),
            _ => None,
        });
        let Some((waiter, interval)) = place else { return self.poll_paced(token, verifier, source, true).await };
        // A wait shorter than the interval is an ordinary poll, and paced like one.
        let mut paced = wait.as_secs() < u64::from(interval);
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            let decided = waiter.decided();
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

    async fn slow_down(&self, id: RegistrationId) -> Result<Delivered, Error> {
        let interval = self
            .store
            .write(move |rows| {
                let registration = rows::registration(rows, id)?.ok_or(Error::InvalidGrant)?.slowed();
                rows::save(rows, &registration)?;
                match registration {
                    Registration::Pending { interval, .. } => Ok(interval),
                    // Decided meanwhile: the next poll is told.
                    _ => Ok::<_, Error>(0),
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
        let what = What::WrongVerifier { registration: request.id, agent: request.agent_name.clone() };
        let random = self.world.bytes();
        // The log says so without being a way to fill the disk.
        let limit = Limit::wrong_verifier_notes(request.id);
        self.store
            .write(move |rows| {
                if rows::charged(rows, &limit, now)? < limit.max {
                    rows::charge(rows, &limit, now)?;
                    record(rows, account, Some(source), what.clone(), now, random)?;
                }
                Ok::<_, Error>(())
            })
            .await
    }

    /// Makes the key an approval stands for: derived when there was a challenge, fresh otherwise.
    fn make_key(&self, id: RegistrationId, approval: &Approval, verifier: Option<&CodeVerifier>) -> (ApiKey, String) {
        let mut stream = match (&approval.salt, verifier) {
            (Some(salt), Some(verifier)) => self.secret.key_stream(id, salt, verifier),
            _ => KeyStream::fresh(self.world.bytes()),
        };
        approval.format.make(approval.environment, &mut stream)
    }

    /// Step 5, the one delivery: key, registration, grant and activity change in one commit.
    async fn deliver(
        &self,
        id: RegistrationId,
        verifier: Option<&CodeVerifier>,
        pickup: Option<PickupToken>,
        source: Source,
    ) -> Result<Delivered, Error> {
        let now = self.world.now();
        let approved = self.store.read(|rows| rows::registration(rows, id)).await?;
        let Some(Registration::Approved { approval, .. }) = &approved else { return self.delivered_meanwhile(id, verifier).await };
        let (secret, shown) = self.make_key(id, approval, verifier);
        let hash = self.secret.hash(Purpose::ApiKey, secret.expose().as_bytes());
        let spent = pickup.map(|token| self.secret.hash(Purpose::PickupToken, token.expose().as_bytes()));
        let (key_id, secret_id, random) = (KeyId::new(now, self.world.bytes()), self.secret_id.clone(), self.world.bytes());
        let max_active = self.config.keys.max_active_per_account;
        let key = self
            .store
            .write(move |rows| {
                let registration = rows::registration(rows, id)?.ok_or(Error::InvalidGrant)?;
                let Registration::Approved { request, approval, pickup } = registration.clone() else { return Err(Error::InvalidGrant) };
                // The pickup token that is presented must still be the one that counts.
                if spent.is_some() && pickup.map(|p| (p.token, p.expires_at > now)) != spent.map(|token| (token, true)) {
                    return Err(Error::InvalidGrant);
                }
                super::acting(rows, approval.account).map_err(|_| Error::AccessDenied)?;
                super::keys::room_for_one_more(rows, approval.account, max_active, Some(approval.grant), now)?;
                let key = Key {
                    id: key_id,
                    account: approval.account,
                    name: request.agent_name.clone(),
                    hash,
                    secret: secret_id.clone(),
                    shown: shown.clone(),
                    environment: approval.environment,
                    scopes: approval.scopes.clone(),
                    created_at: now,
                    expires_at: approval.key_lifetime.map(|seconds| after(now, SignedDuration::from_secs(seconds))),
                    revoked: None,
                    disabled_at: None,
                    disabled_reason: None,
                    disabled_with: None,
                    parent: None,
                    root: None,
                    requests_per_minute: None,
                    replaces: None,
                    replaced_by: None,
                    origin: Origin::Agent {
                        registration: id,
                        grant: approval.grant,
                        agent_name: request.agent_name.clone(),
                        approved_by: approval.account,
                    },
                    redeliverable: approval.salt.map(|_| id),
                };
                if let Some(mut grant) = rows::grant(rows, approval.grant)? {
                    grant.key = Some(key_id);
                    rows::save(rows, &grant)?;
                }
                rows::save(rows, &key)?;
                rows::save(rows, &registration.deliver(key_id, spent, now).map_err(|_| Error::InvalidGrant)?)?;
                let what = What::Delivered { registration: id, key: key_id, agent: request.agent_name.clone() };
                record(rows, approval.account, Some(source), what, now, random)?;
                Ok::<_, Error>(key)
            })
            .await;
        match key {
            Ok(key) => self.delivered(&secret, &key).await,
            Err(Error::InvalidGrant) => self.delivered_meanwhile(id, verifier).await,
            Err(error) => Err(error),
        }
    }

    /// Another poll of the same agent was first: with a challenge both get the same key.
    async fn delivered_meanwhile(&self, id: RegistrationId, verifier: Option<&CodeVerifier>) -> Result<Delivered, Error> {
        let registration = self.store.read(|rows| rows::registration(rows, id)).await?.ok_or(Error::InvalidGrant)?;
        match registration.poll(verifier, false, self.world.now()) {
            Poll::Again { key, salt } => self.deliver_again(&registration, key, &salt, verifier).await,
            Poll::Denied => Err(Error::AccessDenied),
            _ => Err(Error::InvalidGrant),
        }
    }

    /// The same key once more: only while it is unused and alive.
    async fn deliver_again(
        &self,
        registration: &Registration,
        key: KeyId,
        salt: &[u8; 32],
        verifier: Option<&CodeVerifier>,
    ) -> Result<Delivered, Error> {
        let now = self.world.now();
        let (Some(verifier), Registration::Delivered { approval, .. }) = (verifier, registration) else { return Err(Error::InvalidGrant) };
        let key = self.store.read(|rows| rows::key(rows, key)).await?.ok_or(Error::InvalidGrant)?;
        if !key.is_active(now) || key.redeliverable.is_none() {
            return Err(Error::InvalidGrant);
        }
        let mut stream = self.secret.key_stream(registration.id(), salt, verifier);
        let (secret, _) = approval.format.make(approval.environment, &mut stream);
        // A rotated server secret would derive another key: say nothing rather than something wrong.
        if self.secret.hash(Purpose::ApiKey, secret.expose().as_bytes()) != key.hash {
            return Err(Error::InvalidGrant);
        }
        self.delivered(&secret, &key).await
    }

    async fn delivered(&self, secret: &ApiKey, key: &Key) -> Result<Delivered, Error> {
        let account = self.store.read(|rows| rows::account(rows, key.account)).await?.ok_or(Error::AccessDenied)?;
        Ok(Delivered {
            access_token: Revealed::new(secret.expose()),
            token_type: "Bearer".to_owned(),
            scope: key.scopes.clone(),
            key_id: key.id,
            approved_by: account.named(),
            environment: key.environment,
            expires_in: key.expires_at.map(|at| at.duration_since(self.world.now()).as_secs()),
            expires_at: key.expires_at.map(Time),
            key_prefix: key.shown.clone(),
            next: format!(
                "Store the key now as {}; it is not shown again. Send it as `Authorization: Bearer …`, for example to {}.",
                self.config.api.key_env,
                self.config.try_url()
            ),
        })
    }

    /// The registration an MCP client's handle leads to; a foreign handle looks like an unknown one.
    pub async fn by_handle(&self, handle: &ClaimHandle, caller: Option<&str>) -> Result<Registration, Error> {
        let hash = self.secret.hash(Purpose::ClaimHandle, handle.expose().as_bytes());
        let registration = self.store.read(|rows| rows::registration_by(rows, Table::Handles, &hash)).await?;
        registration
            .filter(|registration| registration.request().handle.as_ref().is_some_and(|handle| handle.admits(caller)))
            .ok_or_else(|| Error::not_found("claim"))
    }

    /// What a registration's poll would say, without delivering.
    pub async fn standing(&self, id: RegistrationId) -> Result<Registration, Error> {
        self.store.read(|rows| rows::registration(rows, id)).await?.ok_or_else(|| Error::not_found("claim"))
    }

    /// Waits for the decision on a registration, at most `wait`; without a place to wait in, not at all.
    pub async fn wait_for_decision(
        &self,
        id: RegistrationId,
        source: &Source,
        account: Option<AccountId>,
        wait: Duration,
    ) -> Result<Registration, Error> {
        let who = Who::of(*source, account);
        let place = if wait.is_zero() { None } else { self.registrations.waiters.join(id, &who, 1) };
        let Some(waiter) = place else { return self.standing(id).await };
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            let decided = waiter.decided();
            tokio::pin!(decided);
            decided.as_mut().enable();
            let registration = self.standing(id).await?;
            if !matches!(registration, Registration::Pending { .. }) {
                return Ok(registration);
            }
            tokio::select! {
                // Its row changed: decided, or only looked at.
                () = decided => {}
                () = &mut deadline => return self.standing(id).await,
                () = waiter.displaced() => return self.standing(id).await,
                () = self.draining.cancelled() => return self.standing(id).await,
            }
        }
    }

    /// The claim token of a registration opened over MCP.
    pub fn claim_token_of(&self, id: RegistrationId) -> ClaimToken {
        self.secret.claim_token(id)
    }

    /// The masked e-mail of whoever decided.
    pub async fn approver(&self, id: RegistrationId) -> Result<Option<String>, Error> {
        self.store
            .read(|rows| {
                let Some(account) = rows::registration(rows, id)?.and_then(|registration| registration.account()) else { return Ok(None) };
                Ok(rows::account(rows, account)?.map(|account| account.named()))
            })
            .await
    }

    /// The key a claim was delivered as.
    pub async fn delivered_key(&self, id: KeyId) -> Result<super::view::KeyView, Error> {
        self.get_key(&super::keys::Actor::Operator, id).await
    }

    /// Mints the token a shell fetches the approved key with; voids an earlier one.
    pub async fn offer_pickup(&self, id: RegistrationId) -> Result<(PickupToken, Timestamp), Error> {
        let now = self.world.now();
        let token = PickupToken::new(self.world.bytes());
        let pickup =
            Pickup { token: self.secret.hash(Purpose::PickupToken, token.expose().as_bytes()), expires_at: after(now, PICKUP_TTL) };
        let expires = pickup.expires_at;
        self.store
            .write(move |rows| {
                let registration = rows::registration(rows, id)?.ok_or_else(|| Error::not_found("claim"))?;
                let next = registration.offer_pickup(pickup.clone(), now).map_err(|_| Error::InvalidGrant)?;
                Ok::<_, Error>(rows::save(rows, &next)?)
            })
            .await?;
        Ok((token, expires))
    }

    /// Redeems a pickup token. It is a bearer until it is spent, so a second redemption revokes the key and tells
    /// the owner (as RFC 6749 §4.1.2 does for codes).
    pub async fn pickup(&self, token: PickupToken, source: Source) -> Result<Delivered, Error> {
        let hash = self.secret.hash(Purpose::PickupToken, token.expose().as_bytes());
        match self.store.read(|rows| rows::registration_by(rows, Table::Pickups, &hash)).await? {
            Some(Registration::Approved { request, .. }) => match self.deliver(request.id, None, Some(token), source).await {
                Err(Error::InvalidGrant) => self.replayed(&hash, source).await,
                answer => answer,
            },
            Some(Registration::Delivered { .. }) => self.replayed(&hash, source).await,
            _ => {
                self.unknown_tokens.charge(&source)?;
                Err(Error::InvalidGrant)
            }
        }
    }

    async fn replayed(&self, hash: &crate::domain::secret::Digest, source: Source) -> Result<Delivered, Error> {
        self.unknown_tokens.charge(&source)?;
        let (now, hash, random) = (self.world.now(), *hash, self.world.bytes());
        self.store
            .write(move |rows| {
                if let Some(Registration::Delivered { request, approval, key, .. }) = rows::registration_by(rows, Table::Pickups, &hash)? {
                    // What was taken may have been rotated since: the newest ends with all before it.
                    let newest = rows::grant(rows, approval.grant)?.and_then(|grant| grant.key).unwrap_or(key);
                    let lives = rows::key(rows, newest)?.is_some_and(|key| key.revoked.is_none());
                    let why = Some("its pickup token was used twice".to_owned());
                    let others = super::keys::revoke_with_all(rows, newest, why, now)?;
                    // Told once: who repeats it writes nothing more.
                    if !lives && others == 0 {
                        return Ok(());
                    }
                    let what = What::PickupReplayed { registration: request.id, key, agent: request.agent_name };
                    record(rows, approval.account, Some(source), what, now, random)?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        Err(Error::InvalidGrant)
    }
}

/// The first use of a key, or its end: the delivery can't be repeated any more.
pub(super) fn forget_salt(rows: &mut dyn Write, registration: RegistrationId) -> Result<(), Error> {
    if let Some(registration) = rows::registration(rows, registration)? {
        rows::save(rows, &registration.end_redelivery())?;
    }
    Ok(())
}
