//! Calls of local programs that were carried out.

use crate::{
    domain::{digest::Digest, idempotency::OPERATION_RETENTION, operation::OperationRecord, time::after},
    store::{
        access::Read,
        error::StoreError,
        row::{Backup, Row, due, load, stored_as_json},
        table::Table,
    },
};

impl Row for OperationRecord {
    const TABLE: Table = Table::Operations;
    const INDEXES: &'static [Table] = &[Table::DueOperations];
    const BACKUP: Backup = Backup::Never;
    const EXPIRY: Option<Table> = Some(Table::DueOperations);

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        vec![(Table::DueOperations, due(after(self.at, OPERATION_RETENTION), self.id.as_bytes()))]
    }
}

/// Reads operations.
pub struct Operations<'a>(pub(in crate::store) &'a dyn Read);

impl Operations<'_> {
    /// The one whose name has this hash.
    pub fn get(&self, id: &Digest) -> Result<Option<OperationRecord>, StoreError> {
        load(self.0, id.as_bytes())
    }
}
