//! Browsers that are signed in.

use crate::{
    domain::{digest::Digest, id::AccountId, session::BrowserSession},
    store::{
        access::Read,
        error::StoreError,
        row::{Backup, Row, all, due_second, load, owned_by, stored_as_json},
        table::Table,
    },
};

impl Row for BrowserSession {
    const TABLE: Table = Table::Sessions;
    const INDEXES: &'static [Table] = &[Table::AccountSessions, Table::DueSessions];
    const BACKUP: Backup = Backup::Never;
    const EXPIRY: Option<Table> = Some(Table::DueSessions);

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.token.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let by_account = [owned_by(self.account), self.key()].concat();
        vec![(Table::AccountSessions, by_account), (Table::DueSessions, due_second(self.ends_at(), self.token.as_bytes()))]
    }
}

/// Reads browser sessions.
pub struct BrowserSessions<'a>(pub(in crate::store) &'a dyn Read);

impl BrowserSessions<'_> {
    /// The one whose cookie has this hash, live or over.
    pub fn get(&self, hash: &Digest) -> Result<Option<BrowserSession>, StoreError> {
        load(self.0, hash.as_bytes())
    }

    /// Those of an account.
    pub fn of_account(&self, account: AccountId) -> Result<Vec<BrowserSession>, StoreError> {
        all(self.0, Table::AccountSessions, &owned_by(account))
    }
}
