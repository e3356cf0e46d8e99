//! An account that may act.

use crate::{
    api::error::Error,
    domain::{account::Account, id::AccountId},
    store::access::Read,
};

/// An account that may act: there, and not disabled.
///
/// # Errors
/// [`Error::SignInNeeded`]: there is none, or it is disabled.
pub fn active_account(tx: &dyn Read, id: AccountId) -> Result<Account, Error> {
    tx.accounts().get(id)?.filter(|account| account.disabled_at.is_none()).ok_or(Error::SignInNeeded)
}
