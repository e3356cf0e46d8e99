//! Tickets with which a service's users come in.

use crate::{
    api::error::Error,
    domain::{account::Account, digest::Digest, id::AccountId, session::PortalSession},
    service::active_account::active_account,
    store::{
        access::{Read, Write},
        error::StoreError,
    },
};

/// The account a ticket signs in to, and where to go from there. A ticket for an operator signs nobody in: a service's key
/// must not be worth the deployment.
///
/// # Errors
/// [`Error::NotFound`] for one that is unknown, used, over, or whose account is disabled: all alike.
pub fn live(tx: &dyn Read, ticket: &Digest, now: jiff::Timestamp) -> Result<(Account, PortalSession), Error> {
    let over = || Error::not_found("sign-in link");
    let portal = tx.portal_sessions().get(ticket)?.filter(|portal| now < portal.expires_at).ok_or_else(over)?;
    let account = active_account(tx, portal.account).map_err(|_| over())?;
    if account.operator { Err(over()) } else { Ok((account, portal)) }
}

/// Voids the tickets an account's human has not used yet, within the caller's transaction. There are few: a minute's.
pub fn end_tickets(tx: &mut dyn Write, account: AccountId) -> Result<(), StoreError> {
    let open = tx.portal_sessions().open()?;
    open.iter().filter(|portal| portal.account == account).for_each(|portal| tx.erase(portal));
    Ok(())
}
