//! An account by whatever an operator knows of it.

use crate::{
    api::{accounts::AccountView, error::Error},
    domain::{
        account::Account,
        id::AccountId,
        name::{Email, ExternalId},
    },
    service::accounts::state::Accounts,
    store::{access::Read, error::StoreError},
};
use jiff::Timestamp;

/// Ids, e-mails and external ids are told apart by what each can be; one that could be two is taken as the first.
pub fn named(tx: &dyn Read, name: &str) -> Result<Option<Account>, StoreError> {
    if let Ok(id) = name.parse::<AccountId>() {
        return tx.accounts().get(id);
    }
    if let Ok(email) = name.parse::<Email>()
        && let Some(account) = tx.accounts().by_email(&email)?
    {
        return Ok(Some(account));
    }
    match name.parse::<ExternalId>() {
        Ok(id) => tx.accounts().by_external_id(&id),
        Err(_) => Ok(None),
    }
}

/// What an operator sees of an account, with a count of the keys that work now.
pub fn view(tx: &dyn Read, account: &Account, now: Timestamp) -> Result<AccountView, StoreError> {
    let active = tx.keys().of_account(account.id)?.iter().filter(|key| key.is_active(now)).count();
    Ok(AccountView::new(account, active))
}

impl Accounts {
    /// A plan of the configuration.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the plans there are.
    pub(crate) fn known_plan(&self, plan: String) -> Result<String, Error> {
        if self.context.config.plans.contains_key(&plan) {
            return Ok(plan);
        }
        let plans: Vec<_> = self.context.config.plans.keys().map(String::as_str).collect();
        Err(Error::invalid("plan", format!("must be one of: {}", plans.join(", "))))
    }

    /// The account somebody means: by its id, its e-mail or its external id.
    ///
    /// # Errors
    /// [`Error::NotFound`]: none of its names is this.
    pub async fn find_account(&self, name: &str) -> Result<AccountView, Error> {
        let now = self.context.runtime.now();
        self.context
            .store
            .read(|tx| {
                let account = named(tx, name)?.ok_or_else(|| Error::not_found("account"))?;
                Ok(view(tx, &account, now)?)
            })
            .await
    }
}
