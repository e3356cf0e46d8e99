//! For how long a delivered key can be delivered once more, and what ends that.

use crate::{
    api::error::Error,
    domain::id::{KeyId, RegistrationId},
    store::access::Write,
};

/// The first use of a key, or its end: the delivery can't be repeated any more.
pub fn end_redelivery_of_registration(tx: &mut dyn Write, registration: RegistrationId) -> Result<(), Error> {
    if let Some(registration) = tx.registrations().get(registration)? {
        tx.save(&registration.end_redelivery())?;
    }
    Ok(())
}

/// The salt is erased with the registration; the key forgets that it could be had again.
pub fn end_redelivery_of_key(tx: &mut dyn Write, key: KeyId) -> Result<(), Error> {
    if let Some(mut key) = tx.keys().get(key)?
        && key.redeliverable.take().is_some()
    {
        tx.save(&key)?;
    }
    Ok(())
}
