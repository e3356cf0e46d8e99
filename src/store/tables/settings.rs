//! Settings of the whole store, by name: schema version, ids of the secrets, key formats ever used.

use crate::store::{
    access::{Read, Write},
    changes::ChangedRow,
    error::StoreError,
    row::{Backup, Row, decode, encode, text},
    table::Table,
};
use serde::{Serialize, de::DeserializeOwned};

/// The setting that holds the latest time seen. It is written behind, as counts are.
pub const CLOCK: &str = "clock";

/// The setting that holds how long the journal was when it was last written to.
pub const JOURNAL: &str = "journal";

/// A setting, whatever it holds.
#[derive(Debug, Clone)]
pub struct Setting {
    /// What it is called.
    pub name: String,
    /// What it holds.
    pub value: serde_json::Value,
}

impl Row for Setting {
    const TABLE: Table = Table::Meta;
    const BACKUP: Backup = Backup::Kept;

    fn key(&self) -> Vec<u8> {
        self.name.clone().into_bytes()
    }

    fn value(&self) -> Result<Vec<u8>, StoreError> {
        encode(&self.value)
    }

    fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        Ok(Self { name: text(key)?, value: decode(value)? })
    }
}

/// What a setting holds.
///
/// # Errors
/// [`StoreError::Corrupt`] where that is no `T`.
pub fn setting<T: DeserializeOwned>(tx: &dyn Read, name: &str) -> Result<Option<T>, StoreError> {
    tx.get(Table::Meta, name.as_bytes())?.map(|bytes| decode(&bytes)).transpose()
}

impl dyn Write + '_ {
    /// Sets a setting.
    pub fn save_setting<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), StoreError> {
        self.put(Table::Meta, name.as_bytes(), encode(value)?);
        Ok(())
    }

    /// Removes a setting.
    pub fn erase_setting(&mut self, name: &str) {
        self.remove(Table::Meta, name.as_bytes());
    }
}

impl ChangedRow {
    /// Whether the row is this setting.
    pub fn is_setting(&self, name: &str) -> bool {
        Table::Meta.own(&self.key) == Some(name.as_bytes())
    }
}
