//! Tickets with which a service's users come in.

use crate::{
    api::error::Error,
    domain::{account::Account, digest::Digest, id::AccountId, session::PortalSession},
    service::active_account::active_account,
    store::{
        access::{Read, Write},
        error::StoreError,
        rows,
        table::Table,
    },
};

pub fn live(rows: &(impl Read + ?Sized), ticket: &Digest, now: jiff::Timestamp) -> Result<(Account, PortalSession), Error> {
    let over = || Error::not_found("sign-in link");
    let portal = rows::load::<PortalSession>(rows, ticket.as_bytes())?.filter(|portal| now < portal.expires_at).ok_or_else(over)?;
    let account = active_account(rows, portal.account).map_err(|_| over())?;
    if account.operator { Err(over()) } else { Ok((account, portal)) }
}

/// Voids the tickets an account's human has not used yet, within the caller's transaction. There are few: a minute's.
pub fn end_tickets(rows: &mut dyn Write, account: AccountId) -> Result<(), StoreError> {
    let open: Vec<PortalSession> = rows::all(rows, Table::DuePortalSessions, &[])?;
    open.iter().filter(|portal| portal.account == account).for_each(|portal| rows::erase(rows, portal));
    Ok(())
}
