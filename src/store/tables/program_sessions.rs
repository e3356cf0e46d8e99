//! Programs that signed in with an account's password.

use crate::{
    domain::{
        id::{AccountId, ProgramSessionId},
        program_session::ProgramSession,
    },
    store::{
        access::Read,
        error::StoreError,
        row::{Backup, Row, all, due, entry, load, owned_by, stored_as_json},
        table::Table,
    },
};

impl Row for ProgramSession {
    const TABLE: Table = Table::ProgramSessions;
    const INDEXES: &'static [Table] = &[Table::AccountProgramSessions, Table::DueProgramSessions];
    const BACKUP: Backup = Backup::Never;
    const EXPIRY: Option<Table> = Some(Table::DueProgramSessions);

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let by_account = entry(&[&self.account.to_string(), &self.id.to_string()]);
        vec![(Table::AccountProgramSessions, by_account), (Table::DueProgramSessions, due(self.ends_at(), &self.key()))]
    }
}

/// Reads program sessions.
pub struct ProgramSessions<'a>(pub(in crate::store) &'a dyn Read);

impl ProgramSessions<'_> {
    /// The one with this id, live or over.
    pub fn get(&self, id: ProgramSessionId) -> Result<Option<ProgramSession>, StoreError> {
        load(self.0, id.to_string())
    }

    /// Those of an account, oldest first: few, by the rule that bounds them.
    pub fn of_account(&self, account: AccountId) -> Result<Vec<ProgramSession>, StoreError> {
        all(self.0, Table::AccountProgramSessions, &owned_by(account))
    }
}
