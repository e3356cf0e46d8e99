//! API keys.

use crate::{
    domain::{
        digest::Digest,
        id::{AccountId, KeyId},
        journal_entry::JournalEntry,
        key::Key,
    },
    store::{
        access::{Order, Read},
        changes::ChangedRow,
        error::StoreError,
        row::{Backup, Page, Row, all, entry, find, load, owned_by, page, stored_as_json},
        table::Table,
    },
};

impl Row for Key {
    const TABLE: Table = Table::Keys;
    const INDEXES: &'static [Table] = &[Table::KeyHashes, Table::AccountKeys, Table::Children];
    const BACKUP: Backup = Backup::Kept;

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let id = self.id.to_string();
        let mut index =
            vec![(Table::KeyHashes, self.hash.as_bytes().to_vec()), (Table::AccountKeys, entry(&[&self.account.to_string(), &id]))];
        if let Some(parent) = self.parent {
            index.push((Table::Children, entry(&[&parent.to_string(), &id])));
        }
        index
    }

    fn loss_since(&self, before: &Self) -> Option<JournalEntry> {
        self.loss_since(before)
    }
}

/// Reads keys.
pub struct Keys<'a>(pub(in crate::store) &'a dyn Read);

impl Keys<'_> {
    /// The one with this id.
    pub fn get(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        load(self.0, id.to_string())
    }

    /// The one whose secret has this hash.
    pub fn by_hash(&self, hash: &Digest) -> Result<Option<Key>, StoreError> {
        find(self.0, Table::KeyHashes, hash.as_bytes())
    }

    /// All of an account, oldest first. The plan bounds those that work, and time those that are over.
    pub fn of_account(&self, account: AccountId) -> Result<Vec<Key>, StoreError> {
        all(self.0, Table::AccountKeys, &owned_by(account))
    }

    /// Those that a key made.
    pub fn children(&self, parent: KeyId) -> Result<Vec<Key>, StoreError> {
        all(self.0, Table::Children, &owned_by(parent))
    }

    /// A page of an account's keys, or of all, newest first, after the key `after`.
    pub fn list(&self, account: Option<AccountId>, after: Option<KeyId>, limit: usize) -> Result<Page<Key>, StoreError> {
        let (index, prefix) = match account {
            Some(account) => (Table::AccountKeys, owned_by(account)),
            None => (Table::Keys, Vec::new()),
        };
        let after = after.map(|id| [prefix.as_slice(), id.to_string().as_bytes()].concat());
        page(self.0, index, &prefix, after.as_deref(), Order::Descending, limit)
    }

    /// A page of all keys, oldest first, after the key `after`.
    pub fn oldest_first(&self, after: Option<KeyId>, limit: usize) -> Result<Page<Key>, StoreError> {
        let after = after.map(|id| id.to_string().into_bytes());
        page(self.0, Table::Keys, &[], after.as_deref(), Order::Ascending, limit)
    }

    /// A page of the hashes of all keys, after the hash `after`.
    pub fn hashes(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.0.scan_keys(Table::KeyHashes, &[], after, Order::Ascending, limit)
    }
}

impl ChangedRow {
    /// The hash of a key, if the row leads from it to its key. Saving a key writes it anew.
    pub fn key_hash(&self) -> Option<&[u8]> {
        Table::KeyHashes.own(&self.key)
    }
}
