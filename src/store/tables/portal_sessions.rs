//! Sign-in links that a service's portal gave to its users.

use crate::{
    domain::{digest::Digest, session::PortalSession},
    store::{
        access::Read,
        error::StoreError,
        row::{Backup, Row, all, due, load, stored_as_json},
        table::Table,
    },
};

impl Row for PortalSession {
    const TABLE: Table = Table::PortalSessions;
    const INDEXES: &'static [Table] = &[Table::DuePortalSessions];
    const BACKUP: Backup = Backup::Never;
    const EXPIRY: Option<Table> = Some(Table::DuePortalSessions);

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.ticket.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        vec![(Table::DuePortalSessions, due(self.expires_at, self.ticket.as_bytes()))]
    }
}

/// Reads portal sessions.
pub struct PortalSessions<'a>(pub(in crate::store) &'a dyn Read);

impl PortalSessions<'_> {
    /// The one whose ticket has this hash, open or over.
    pub fn get(&self, ticket: &Digest) -> Result<Option<PortalSession>, StoreError> {
        load(self.0, ticket.as_bytes())
    }

    /// All that were not used: those of the last minute.
    pub fn open(&self) -> Result<Vec<PortalSession>, StoreError> {
        all(self.0, Table::PortalSessions, &[])
    }
}
