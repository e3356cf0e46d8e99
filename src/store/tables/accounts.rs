//! Accounts of humans.

use crate::{
    domain::{
        account::Account,
        id::AccountId,
        journal_entry::JournalEntry,
        name::{Email, ExternalId},
    },
    store::{
        access::{Order, Read},
        changes::ChangedRow,
        error::StoreError,
        row::{Backup, Page, Row, find, load, page, stored_as_json, text},
        table::Table,
    },
};

impl Row for Account {
    const TABLE: Table = Table::Accounts;
    const INDEXES: &'static [Table] = &[Table::Emails, Table::ExternalIds];
    const BACKUP: Backup = Backup::Kept;

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let mut index = vec![(Table::Emails, self.email.as_str().as_bytes().to_vec())];
        index.extend(self.external_id.as_ref().map(|id| (Table::ExternalIds, id.as_str().as_bytes().to_vec())));
        index
    }

    fn loss_since(&self, before: &Self) -> Option<JournalEntry> {
        self.loss_since(before)
    }
}

/// Reads accounts.
pub struct Accounts<'a>(pub(in crate::store) &'a dyn Read);

impl Accounts<'_> {
    /// The one with this id.
    pub fn get(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        load(self.0, id.to_string())
    }

    /// The one that has this address now.
    pub fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        find(self.0, Table::Emails, email.as_str().as_bytes())
    }

    /// The one that a service calls so.
    pub fn by_external_id(&self, id: &ExternalId) -> Result<Option<Account>, StoreError> {
        find(self.0, Table::ExternalIds, id.as_str().as_bytes())
    }

    /// A page, newest first, after the account `after`.
    pub fn list(&self, after: Option<AccountId>, limit: usize) -> Result<Page<Account>, StoreError> {
        let after = after.map(|id| id.to_string().into_bytes());
        page(self.0, Table::Accounts, &[], after.as_deref(), Order::Descending, limit)
    }

    /// How many there are, up to `limit`.
    pub fn count(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.count(Table::Accounts, limit)
    }
}

impl ChangedRow {
    /// The account, if the row is one.
    pub fn account(&self) -> Option<AccountId> {
        text(Table::Accounts.own(&self.key)?).ok()
    }
}
