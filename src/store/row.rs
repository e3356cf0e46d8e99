//! A row declares its table once ([`Row`]); saving it keeps its index entries in step, within the transaction.

use crate::{
    domain::journal_entry::JournalEntry,
    store::{
        access::{Order, Read, Write},
        error::StoreError,
        table::Table,
    },
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// Whether a table's rows, with all that leads to them, are part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// They are.
    Kept,
    /// What must not come back: codes, sessions and counters of another day.
    Never,
}

/// The declaration of a table: what its rows are, where they lie, and what leads to them. Check, sweep, backup, walks and
/// counts go by it ([`Declaration`](crate::store::declaration::Declaration)).
pub trait Row: Sized {
    /// Where they lie.
    const TABLE: Table;
    /// The tables of the index entries that lead to them.
    const INDEXES: &'static [Table] = &[];
    /// Whether they are part of a backup.
    const BACKUP: Backup;
    /// The index by which they are erased once their time is over.
    const EXPIRY: Option<Table> = None;
    /// Whether they count what happened and are written behind it: a kill loses none of them, a power cut may take the last
    /// ones back, so nobody waits for them to be on disk.
    const WRITTEN_BEHIND: bool = false;

    /// The key, inside its table.
    fn key(&self) -> Vec<u8>;

    /// The stored value.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for what can't be written down.
    fn value(&self) -> Result<Vec<u8>, StoreError>;

    /// Reads a stored row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for bytes that are none.
    fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError>;

    /// Index entries, in [`INDEXES`](Self::INDEXES); each leads to this row's key.
    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        Vec::new()
    }

    /// What `self` takes away from what `before` allowed: an entry for the journal. Of rows with an index only.
    fn loss_since(&self, _before: &Self) -> Option<JournalEntry> {
        None
    }
}

/// Within `impl Row`: the value is the row itself as JSON, its key included.
macro_rules! stored_as_json {
    () => {
        fn value(&self) -> Result<Vec<u8>, crate::store::error::StoreError> {
            crate::store::row::encode(self)
        }

        fn read(_: &[u8], value: &[u8]) -> Result<Self, crate::store::error::StoreError> {
            crate::store::row::decode(value)
        }
    };
}
pub(in crate::store) use stored_as_json;

/// JSON from stored bytes.
///
/// # Errors
/// [`StoreError::Corrupt`], without what the bytes hold.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// JSON to be stored.
///
/// # Errors
/// [`StoreError::Corrupt`] for what JSON can't say.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A row's key, or a part of it, as text.
///
/// # Errors
/// [`StoreError::Corrupt`] for bytes that are no such text.
pub fn text<T: std::str::FromStr>(key: &[u8]) -> Result<T, StoreError> {
    let wrong = || StoreError::Corrupt("a row lies under a key that is none".to_owned());
    std::str::from_utf8(key).map_err(|_| wrong())?.parse().map_err(|_| wrong())
}

/// The row under `key`.
///
/// # Errors
/// As [`Read::get`] and [`Row::read`].
pub fn load<R: Row>(tx: &(impl Read + ?Sized), key: impl AsRef<[u8]>) -> Result<Option<R>, StoreError> {
    let key = key.as_ref();
    tx.get(R::TABLE, key)?.map(|value| R::read(key, &value)).transpose()
}

/// The row a unique index entry leads to.
///
/// # Errors
/// As [`load`].
pub fn find<R: Row>(tx: &(impl Read + ?Sized), index: Table, entry: &[u8]) -> Result<Option<R>, StoreError> {
    match tx.get(index, entry)? {
        Some(key) => load(tx, key),
        None => Ok(None),
    }
}

/// Writes a row and its index entries, removes entries of before, and notes in the journal what it takes away.
///
/// # Errors
/// As [`load`] and [`Row::value`].
pub fn save<R: Row>(tx: &mut (impl Write + ?Sized), row: &R) -> Result<(), StoreError> {
    let key = row.key();
    let index = row.index();
    // What nothing leads to takes nothing away either, and is not read before it is written.
    if !R::INDEXES.is_empty()
        && let Some(old) = load::<R>(tx, &key)?
    {
        if let Some(loss) = row.loss_since(&old) {
            tx.note(encode(&loss)?);
        }
        for (table, entry) in old.index() {
            if !index.iter().any(|(t, e)| *t == table && *e == entry) {
                tx.remove(table, &entry);
            }
        }
    }
    for (table, entry) in index {
        tx.put(table, &entry, key.clone());
    }
    tx.put(R::TABLE, &key, row.value()?);
    Ok(())
}

/// Removes a row and its index entries.
pub fn erase<R: Row>(tx: &mut (impl Write + ?Sized), row: &R) {
    for (table, entry) in row.index() {
        tx.remove(table, &entry);
    }
    tx.remove(R::TABLE, &row.key());
}

/// A page of a list.
pub struct Page<R> {
    /// In the order of the scan.
    pub rows: Vec<R>,
    /// Whether there is none after it.
    pub is_last: bool,
}

/// At most `limit` rows that `index` lists under `prefix`, after the entry `after`. `index` may be the table itself.
///
/// # Errors
/// As [`load`].
pub fn page<R: Row>(
    tx: &dyn Read,
    index: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
    order: Order,
    limit: usize,
) -> Result<Page<R>, StoreError> {
    let entries = tx.scan(index, prefix, after, order, limit)?;
    let is_last = entries.len() < limit;
    let rows = if index == R::TABLE {
        entries.iter().map(|(key, value)| R::read(key, value)).collect::<Result<_, _>>()?
    } else {
        let keys: Vec<_> = entries.into_iter().map(|(_, key)| key).collect();
        let values = tx.get_many(R::TABLE, &keys)?;
        keys.iter().zip(values).filter_map(|(key, value)| Some(R::read(key, &value?))).collect::<Result<_, _>>()?
    };
    Ok(Page { rows, is_last })
}

/// Every row under `prefix`, for lists whose length a rule bounds.
///
/// # Errors
/// As [`load`].
pub fn all<R: Row>(tx: &dyn Read, index: Table, prefix: &[u8]) -> Result<Vec<R>, StoreError> {
    Ok(page(tx, index, prefix, None, Order::Ascending, usize::MAX)?.rows)
}

/// Joins the parts of an index entry; no part holds a `|`.
pub fn entry(parts: &[&str]) -> Vec<u8> {
    parts.join("|").into_bytes()
}

/// What all entries of one owner start with.
pub fn owned_by(owner: impl ToString) -> Vec<u8> {
    entry(&[&owner.to_string(), ""])
}

/// An index entry that sorts by time, in seconds rounded up: nothing is due before its moment.
pub fn due(at: Timestamp, key: &[u8]) -> Vec<u8> {
    due_second(at.as_second() + i64::from(at.subsec_nanosecond() > 0), key)
}

/// The same for a Unix second.
pub fn due_second(second: i64, key: &[u8]) -> Vec<u8> {
    let mut entry = u64::try_from(second).unwrap_or(0).to_be_bytes().to_vec();
    entry.extend_from_slice(key);
    entry
}

/// Keys of at most `limit` rows that were due by `now`.
///
/// # Errors
/// As [`Read::scan`].
pub fn due_by(tx: &(impl Read + ?Sized), index: Table, now: Timestamp, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let end = u64::try_from(now.as_second()).unwrap_or(0).to_be_bytes();
    let entries = tx.scan(index, &[], None, Order::Ascending, limit)?;
    Ok(entries.into_iter().take_while(|(entry, _)| entry.get(..8).is_some_and(|at| at <= end.as_slice())).map(|(_, key)| key).collect())
}
