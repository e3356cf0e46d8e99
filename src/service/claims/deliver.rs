//! The approved key is made and handed over.

use crate::{
    api::{
        claims::Delivered,
        error::Error,
        keys::KeyView,
        values::{Revealed, Time},
    },
    domain::{
        activity::EventKind,
        digest::Digest,
        id::{KeyId, RegistrationId},
        key::{Key, Origin},
        key_stream::KeyStream,
        registration::{poll::Poll, request::Approval, transitions::Registration},
        secret::{ApiKey, CodeVerifier, PickupToken},
        server_secret::Purpose,
        source::Source,
        time::after,
    },
    service::{
        active_account::active_account,
        caller::Actor,
        claims::state::Claims,
        keys::{lineage::revoke_with_all, quota::check_key_quota},
        record_event::record,
    },
};
use jiff::SignedDuration;

impl Claims {
    /// Makes the key an approval stands for: derived when there was a challenge, fresh otherwise.
    fn make_key(&self, id: RegistrationId, approval: &Approval, verifier: Option<&CodeVerifier>) -> (ApiKey, String) {
        let mut stream = match (&approval.salt, verifier) {
            (Some(salt), Some(verifier)) => self.context.secret.key_stream(id, salt, verifier),
            _ => KeyStream::fresh(self.context.runtime.bytes()),
        };
        approval.format.make(approval.environment, &mut stream)
    }

    /// Step 5, the one delivery: key, registration, grant and activity change in one commit.
    ///
    /// # Errors
    /// * [`Error::InvalidGrant`]: it is not approved, was delivered already, or its pickup token is another by now.
    /// * [`Error::AccessDenied`]: the approver's account is gone or disabled, or the approval was taken back.
    /// * [`Error::Conflict`]: the account has as many active keys as it may.
    pub(crate) async fn deliver(
        &self,
        id: RegistrationId,
        verifier: Option<&CodeVerifier>,
        pickup: Option<PickupToken>,
        source: Source,
    ) -> Result<Delivered, Error> {
        let now = self.context.runtime.now();
        let approved = self.context.store.read(|tx| tx.registrations().get(id)).await?;
        let Some(Registration::Approved { approval, .. }) = &approved else { return self.delivered_meanwhile(id, verifier).await };
        let (secret, shown) = self.make_key(id, approval, verifier);
        let hash = self.context.secret.hash(Purpose::ApiKey, secret.expose().as_bytes());
        let spent = pickup.map(|token| self.context.secret.hash(Purpose::PickupToken, token.expose().as_bytes()));
        let (key_id, secret_id, random) =
            (KeyId::new(now, self.context.runtime.bytes()), self.context.secret.id(), self.context.runtime.bytes());
        let max_active = self.context.config.keys.max_active_per_account;
        let key = self
            .context
            .store
            .write(move |tx| {
                let registration = tx.registrations().get(id)?.ok_or(Error::InvalidGrant)?;
                let Registration::Approved { request, approval, pickup } = registration.clone() else { return Err(Error::InvalidGrant) };
                // The pickup token that is presented must still be the one that counts.
                if spent.is_some() && pickup.map(|p| (p.token, p.expires_at > now)) != spent.map(|token| (token, true)) {
                    return Err(Error::InvalidGrant);
                }
                active_account(tx, approval.account).map_err(|_| Error::AccessDenied)?;
                check_key_quota(tx, approval.account, max_active, Some(approval.grant), now)?;
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
                if let Some(mut grant) = tx.grants().get(approval.grant)? {
                    grant.key = Some(key_id);
                    tx.save(&grant)?;
                }
                tx.save(&key)?;
                tx.save(&registration.deliver(key_id, spent, now).map_err(|_| Error::InvalidGrant)?)?;
                let what = EventKind::Delivered { registration: id, key: key_id, agent: request.agent_name.clone() };
                record(tx, approval.account, Some(source), what, now, random)?;
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
        let registration = self.context.store.read(|tx| tx.registrations().get(id)).await?.ok_or(Error::InvalidGrant)?;
        match registration.poll(verifier, false, self.context.runtime.now()) {
            Poll::Again { key, salt } => self.deliver_again(&registration, key, &salt, verifier).await,
            Poll::Denied => Err(Error::AccessDenied),
            _ => Err(Error::InvalidGrant),
        }
    }

    /// The same key once more: only while it is unused and alive.
    ///
    /// # Errors
    /// [`Error::InvalidGrant`]: the key was used, has ended, or can't be derived any more.
    pub(crate) async fn deliver_again(
        &self,
        registration: &Registration,
        key: KeyId,
        salt: &[u8; 32],
        verifier: Option<&CodeVerifier>,
    ) -> Result<Delivered, Error> {
        let now = self.context.runtime.now();
        let (Some(verifier), Registration::Delivered { approval, .. }) = (verifier, registration) else { return Err(Error::InvalidGrant) };
        let key = self.context.store.read(|tx| tx.keys().get(key)).await?.ok_or(Error::InvalidGrant)?;
        if !key.is_active(now) || key.redeliverable.is_none() {
            return Err(Error::InvalidGrant);
        }
        let mut stream = self.context.secret.key_stream(registration.id(), salt, verifier);
        let (secret, _) = approval.format.make(approval.environment, &mut stream);
        // A rotated server secret would derive another key: say nothing rather than something wrong.
        if self.context.secret.hash(Purpose::ApiKey, secret.expose().as_bytes()) != key.hash {
            return Err(Error::InvalidGrant);
        }
        self.delivered(&secret, &key).await
    }

    async fn delivered(&self, secret: &ApiKey, key: &Key) -> Result<Delivered, Error> {
        let account = self.context.store.read(|tx| tx.accounts().get(key.account)).await?.ok_or(Error::AccessDenied)?;
        Ok(Delivered {
            access_token: Revealed::new(secret.expose()),
            token_type: "Bearer".to_owned(),
            scope: key.scopes.clone(),
            key_id: key.id,
            approved_by: account.named(),
            environment: key.environment,
            expires_in: key.expires_at.map(|at| at.duration_since(self.context.runtime.now()).as_secs()),
            expires_at: key.expires_at.map(Time),
            key_prefix: key.shown.clone(),
            next: format!(
                "Store the key now as {}; it is not shown again. Send it as `Authorization: Bearer …`, for example to {}.",
                self.context.config.api.key_env,
                self.context.config.try_url()
            ),
        })
    }

    /// The key a claim was delivered as.
    ///
    /// # Errors
    /// [`Error::NotFound`]: it is gone.
    pub async fn delivered_key(&self, id: KeyId) -> Result<KeyView, Error> {
        self.keys.get_key(&Actor::Operator, id).await
    }

    /// A pickup token that came a second time was copied: its key is revoked (as RFC 6749 §4.1.2 does for codes), and the owner
    /// reads of it.
    ///
    /// # Errors
    /// [`Error::InvalidGrant`] always: the caller gets nothing, and is told no more than of an unknown token. [`Error::TooMany`]
    /// past the limit on unknown tokens.
    pub(crate) async fn replayed(&self, hash: &Digest, source: Source) -> Result<Delivered, Error> {
        self.unknown_tokens.charge(&source)?;
        let (now, hash, random) = (self.context.runtime.now(), *hash, self.context.runtime.bytes());
        self.context
            .store
            .write(move |tx| {
                if let Some(Registration::Delivered { request, approval, key, .. }) = tx.registrations().by_pickup(&hash)? {
                    // What was taken may have been rotated since: the newest ends with all before it.
                    let newest = tx.grants().get(approval.grant)?.and_then(|grant| grant.key).unwrap_or(key);
                    let lives = tx.keys().get(newest)?.is_some_and(|key| key.revoked.is_none());
                    let why = Some("its pickup token was used twice".to_owned());
                    let others = revoke_with_all(tx, newest, why, now)?;
                    // Told once: who repeats it writes nothing more.
                    if !lives && others == 0 {
                        return Ok(());
                    }
                    let what = EventKind::PickupReplayed { registration: request.id, key, agent: request.agent_name };
                    record(tx, approval.account, Some(source), what, now, random)?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        Err(Error::InvalidGrant)
    }
}
