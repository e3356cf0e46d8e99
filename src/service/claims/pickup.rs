//! A shell picks up the key that was approved for an agent.

use crate::{
    api::{claims::Delivered, error::Error},
    domain::{
        id::RegistrationId,
        registration::{
            request::{PICKUP_TTL, Pickup},
            transitions::Registration,
        },
        secret::PickupToken,
        server_secret::Purpose,
        source::Source,
        time::after,
    },
    service::claims::state::Claims,
};
use jiff::Timestamp;

impl Claims {
    /// Mints the token a shell fetches the approved key with; voids an earlier one.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such registration. [`Error::InvalidGrant`]: it is not approved, or over.
    pub async fn offer_pickup(&self, id: RegistrationId) -> Result<(PickupToken, Timestamp), Error> {
        let now = self.context.runtime.now();
        let token = PickupToken::new(self.context.runtime.bytes());
        let pickup =
            Pickup { token: self.context.secret.hash(Purpose::PickupToken, token.expose().as_bytes()), expires_at: after(now, PICKUP_TTL) };
        let expires = pickup.expires_at;
        self.context
            .store
            .write(move |tx| {
                let registration = tx.registrations().get(id)?.ok_or_else(|| Error::not_found("claim"))?;
                let next = registration.offer_pickup(pickup.clone(), now).map_err(|_| Error::InvalidGrant)?;
                Ok::<_, Error>(tx.save(&next)?)
            })
            .await?;
        Ok((token, expires))
    }

    /// Redeems a pickup token. It is a bearer until it is spent, so a second redemption revokes the key and tells
    /// the owner (as RFC 6749 §4.1.2 does for codes).
    ///
    /// # Errors
    /// [`Error::InvalidGrant`]: unknown, void or spent. [`Error::TooMany`]: too many such from this address.
    /// Of a delivery: [`Error::AccessDenied`], [`Error::Conflict`].
    pub async fn pickup(&self, token: PickupToken, source: Source) -> Result<Delivered, Error> {
        let hash = self.context.secret.hash(Purpose::PickupToken, token.expose().as_bytes());
        match self.context.store.read(|tx| tx.registrations().by_pickup(&hash)).await? {
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
}
