//! What was approved, and became an agent's key or nothing.

use crate::{
    domain::{
        grant::Grant,
        id::{AccountId, GrantId},
    },
    store::{
        access::{Order, Read},
        error::StoreError,
        row::{Backup, Page, Row, all, entry, load, owned_by, page, stored_as_json},
        table::Table,
    },
};

impl Row for Grant {
    const TABLE: Table = Table::Grants;
    const INDEXES: &'static [Table] = &[Table::AccountGrants];
    const BACKUP: Backup = Backup::Kept;

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        vec![(Table::AccountGrants, entry(&[&self.account.to_string(), &self.id.to_string()]))]
    }
}

/// Reads grants.
pub struct Grants<'a>(pub(in crate::store) &'a dyn Read);

impl Grants<'_> {
    /// The one with this id.
    pub fn get(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        load(self.0, id.to_string())
    }

    /// All of an account, oldest first.
    pub fn of_account(&self, account: AccountId) -> Result<Vec<Grant>, StoreError> {
        all(self.0, Table::AccountGrants, &owned_by(account))
    }

    /// All of them, account by account.
    pub fn by_account(&self) -> Result<Vec<Grant>, StoreError> {
        all(self.0, Table::AccountGrants, &[])
    }

    /// A page of an account's grants, or of all, newest first, after the grant `after`.
    pub fn list(&self, account: Option<AccountId>, after: Option<GrantId>, limit: usize) -> Result<Page<Grant>, StoreError> {
        let (index, prefix) = match account {
            Some(account) => (Table::AccountGrants, owned_by(account)),
            None => (Table::Grants, Vec::new()),
        };
        let after = after.map(|id| [prefix.as_slice(), id.to_string().as_bytes()].concat());
        page(self.0, index, &prefix, after.as_deref(), Order::Descending, limit)
    }
}
