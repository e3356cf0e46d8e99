//! For how long a delivered key can be delivered once more, and what ends that.

use crate::{
    api::error::Error,
    domain::id::{KeyId, RegistrationId},
    store::{access::Write, rows},
};

/// The first use of a key, or its end: the delivery can't be repeated any more.
pub fn end_redelivery_of_registration(rows: &mut dyn Write, registration: RegistrationId) -> Result<(), Error> {
    if let Some(registration) = rows::registration(rows, registration)? {
        rows::save(rows, &registration.end_redelivery())?;
    }
    Ok(())
}

/// The salt is erased with the registration; the key forgets that it could be had again.
pub fn end_redelivery_of_key(rows: &mut dyn Write, key: KeyId) -> Result<(), Error> {
    if let Some(mut key) = rows::key(rows, key)?
        && key.redeliverable.take().is_some()
    {
        rows::save(rows, &key)?;
    }
    Ok(())
}
