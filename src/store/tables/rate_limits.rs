//! When allowances are whole again.

use crate::{
    domain::rate_limit::RateLimitKey,
    store::{
        access::{Read, Write},
        error::StoreError,
        row::{Backup, Row, all, decode, text},
        table::Table,
    },
};

/// GCRA's theoretical arrival time of an allowance.
#[derive(Debug, Clone, Copy)]
pub struct StoredTat {
    /// Whose.
    pub of: RateLimitKey,
    /// In nanoseconds of Unix time.
    pub tat: u64,
}

impl Row for StoredTat {
    const TABLE: Table = Table::RateLimits;
    const BACKUP: Backup = Backup::Never;
    const WRITTEN_BEHIND: bool = true;

    fn key(&self) -> Vec<u8> {
        self.of.to_string().into_bytes()
    }

    fn value(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.tat.to_string().into_bytes())
    }

    fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        Ok(Self { of: text(key)?, tat: decode(value)? })
    }
}

/// Reads rate limits.
pub struct RateLimits<'a>(pub(in crate::store) &'a dyn Read);

impl RateLimits<'_> {
    /// All that were not whole when they were last written.
    pub fn all(&self) -> Result<Vec<StoredTat>, StoreError> {
        all(self.0, Table::RateLimits, &[])
    }
}

impl dyn Write + '_ {
    /// Writes an allowance that is not whole. It lies behind what it counts, so nothing of before is looked at.
    pub fn put_rate_limit(&mut self, limit: StoredTat) -> Result<(), StoreError> {
        self.put(Table::RateLimits, &limit.key(), limit.value()?);
        Ok(())
    }

    /// Forgets one that is whole.
    pub fn erase_rate_limit(&mut self, of: RateLimitKey) {
        self.remove(Table::RateLimits, of.to_string().as_bytes());
    }
}
