//! An account that may act.

use crate::{
    api::error::Error,
    domain::{account::Account, id::AccountId},
    store::{access::Read, rows},
};

/// An account that may act: there, and not disabled.
pub fn active_account(rows: &(impl Read + ?Sized), id: AccountId) -> Result<Account, Error> {
    rows::account(rows, id)?.filter(|account| account.disabled_at.is_none()).ok_or(Error::SignInNeeded)
}
