//! Requests that named themselves and were done.

use crate::{
    domain::{digest::Digest, idempotency::IdempotencyRecord},
    store::{
        access::Read,
        error::StoreError,
        row::{Backup, Row, due, load, stored_as_json},
        table::Table,
    },
};

impl Row for IdempotencyRecord {
    const TABLE: Table = Table::Done;
    const INDEXES: &'static [Table] = &[Table::DueDone];
    const BACKUP: Backup = Backup::Never;
    const EXPIRY: Option<Table> = Some(Table::DueDone);

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.request.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        vec![(Table::DueDone, due(self.ends_at, self.request.as_bytes()))]
    }
}

/// Reads idempotency records.
pub struct IdempotencyRecords<'a>(pub(in crate::store) &'a dyn Read);

impl IdempotencyRecords<'_> {
    /// The one whose name has this hash, until it is swept.
    pub fn get(&self, request: &Digest) -> Result<Option<IdempotencyRecord>, StoreError> {
        load(self.0, request.as_bytes())
    }
}
