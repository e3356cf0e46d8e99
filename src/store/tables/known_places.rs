//! Where accounts were signed in to.

use crate::{
    domain::{account::KnownPlaces, id::AccountId},
    store::{
        access::Read,
        error::StoreError,
        row::{Backup, Row, load, stored_as_json},
        table::Table,
    },
};

impl Row for KnownPlaces {
    const TABLE: Table = Table::KnownPlaces;
    const BACKUP: Backup = Backup::Never;

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.account.to_string().into_bytes()
    }
}

/// Reads the places of accounts.
pub struct PlacesOfAccounts<'a>(pub(in crate::store) &'a dyn Read);

impl PlacesOfAccounts<'_> {
    /// Those of one account.
    pub fn of_account(&self, account: AccountId) -> Result<Option<KnownPlaces>, StoreError> {
        load(self.0, account.to_string())
    }
}
