//! An account by whatever an operator knows of it.

use crate::{
    api::accounts::AccountView,
    domain::{
        account::Account,
        id::AccountId,
        name::{Email, ExternalId},
    },
    store::{engine::Read, error::StoreError, rows},
};
use jiff::Timestamp;

/// Ids, e-mails and external ids are told apart by what each can be; one that could be two is taken as the first.
pub fn named(rows: &(impl Read + ?Sized), name: &str) -> Result<Option<Account>, StoreError> {
    if let Ok(id) = name.parse::<AccountId>() {
        return rows::account(rows, id);
    }
    if let Ok(email) = name.parse::<Email>()
        && let Some(account) = rows::account_by_email(rows, &email)?
    {
        return Ok(Some(account));
    }
    match name.parse::<ExternalId>() {
        Ok(id) => rows::account_by_external_id(rows, &id),
        Err(_) => Ok(None),
    }
}

pub fn view(rows: &(impl Read + ?Sized), account: &Account, now: Timestamp) -> Result<AccountView, StoreError> {
    let active = rows::account_keys(rows, account.id)?.iter().filter(|key| key.is_active(now)).count();
    Ok(AccountView::new(account, active))
}
