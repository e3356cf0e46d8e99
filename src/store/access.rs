//! Reading and writing rows as bytes, inside one transaction.

use crate::store::{error::StoreError, table::Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Rows as bytes: a key inside its table, and the value.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

pub trait Read {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows of `table` whose keys start with `prefix`, strictly after the key `after` in `order`.
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Rows, StoreError>;
}

pub trait Write: Read {
    fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>);
    fn remove(&mut self, table: Table, key: &[u8]);
    /// An entry for the [`journal`](crate::store::journal), if one is kept: on disk there before the change is.
    fn note(&mut self, entry: Vec<u8>);
    /// Says that this change takes rights away, as one with a [`note`](Self::note) does: it is made on a full disk, too, from
    /// room that is kept for it.
    fn takes_away(&mut self);
}
