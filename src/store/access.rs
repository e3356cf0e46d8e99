//! Reading and writing rows as bytes, inside one transaction: what an engine fulfils. Use cases take the typed way over it
//! ([`tx`](crate::store::tx)).

use crate::store::{error::StoreError, table::Table};

/// The direction of a scan, by the bytes of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the least key on.
    Ascending,
    /// From the greatest key back.
    Descending,
}

/// Rows as bytes: a key inside its table, and the value.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads of one transaction: they all see the same state.
pub trait Read {
    /// The value under `key`.
    ///
    /// # Errors
    /// Whatever keeps the engine from reading.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values under several keys, in their order. An engine that is far away fetches them together.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_many(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    /// At most `limit` rows of `table` whose keys start with `prefix`, strictly after the key `after` in `order`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Rows, StoreError>;

    /// The keys of the same rows.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn scan_keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Vec<Vec<u8>>, StoreError>;

    /// How many rows of `table` there are, up to `limit`. Loads none of them.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn count(&self, table: Table, limit: usize) -> Result<usize, StoreError>;
}

/// What one transaction changes. Its own reads see it at once, others once it is committed.
pub trait Write: Read {
    /// Sets the value under `key`.
    fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>);
    /// Removes the row, if it is there.
    fn remove(&mut self, table: Table, key: &[u8]);
    /// An entry for the [`journal`](crate::store::journal), if one is kept: on disk there before the change is.
    fn note(&mut self, entry: Vec<u8>);
    /// Says that this change takes rights away, as one with a [`note`](Self::note) does: it is made on a full disk, too, from
    /// room that is kept for it.
    fn takes_away(&mut self);
}
