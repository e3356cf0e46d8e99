//! What keys were used for in their whole lives.

use crate::{
    domain::{id::KeyId, usage::Usage},
    store::{
        access::Read,
        error::StoreError,
        row::{Backup, Row, decode, encode, load, text},
        table::Table,
    },
};

/// A key's usage.
#[derive(Debug, Clone)]
pub struct KeyUsage {
    /// Whose.
    pub key: KeyId,
    /// How much.
    pub usage: Usage,
}

impl Row for KeyUsage {
    const TABLE: Table = Table::Usage;
    const BACKUP: Backup = Backup::Kept;
    const WRITTEN_BEHIND: bool = true;

    fn key(&self) -> Vec<u8> {
        self.key.to_string().into_bytes()
    }

    fn value(&self) -> Result<Vec<u8>, StoreError> {
        encode(&self.usage)
    }

    fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        Ok(Self { key: text(key)?, usage: decode(value)? })
    }
}

/// Reads usage.
pub struct UsageOfKeys<'a>(pub(in crate::store) &'a dyn Read);

impl UsageOfKeys<'_> {
    /// A key's; of one that was never used: none.
    pub fn of_key(&self, key: KeyId) -> Result<Usage, StoreError> {
        Ok(load::<KeyUsage>(self.0, key.to_string())?.map(|found| found.usage).unwrap_or_default())
    }
}
