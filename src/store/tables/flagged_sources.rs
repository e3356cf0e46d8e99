//! Sources a human disowned a request from.

use crate::{
    domain::source::Source,
    store::{
        access::{Read, Write},
        error::StoreError,
        row::{Backup, Row, decode, load, save, text},
        table::Table,
    },
};

/// A source that is flagged.
#[derive(Debug, Clone)]
pub struct FlaggedSource {
    /// [`Source::rate_limit_key`].
    pub source: String,
    /// In Unix seconds.
    pub until: i64,
}

impl Row for FlaggedSource {
    const TABLE: Table = Table::FlaggedSources;
    const BACKUP: Backup = Backup::Kept;

    fn key(&self) -> Vec<u8> {
        self.source.clone().into_bytes()
    }

    fn value(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.until.to_string().into_bytes())
    }

    fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        Ok(Self { source: text(key)?, until: decode(value)? })
    }
}

/// Reads flagged sources.
pub struct FlaggedSources<'a>(pub(in crate::store) &'a dyn Read);

impl FlaggedSources<'_> {
    /// Until when a source is flagged, in Unix seconds.
    pub fn until(&self, source: &Source) -> Result<Option<i64>, StoreError> {
        Ok(load::<FlaggedSource>(self.0, source.rate_limit_key())?.map(|flagged| flagged.until))
    }
}

impl dyn Write + '_ {
    /// Flags a source until a Unix second.
    pub fn flag(&mut self, source: &Source, until: i64) -> Result<(), StoreError> {
        save(self, &FlaggedSource { source: source.rate_limit_key(), until })
    }
}
