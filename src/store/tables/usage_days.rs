//! Use by day: one row for each key and day, and one a day for all keys together.

use crate::{
    domain::usage::Day,
    store::{
        access::{Order, Read},
        error::StoreError,
        row::{Backup, Page, Row, decode, encode, entry, load, owned_by, page, text},
        table::Table,
    },
};
use jiff::civil::Date;

/// A subject's day.
#[derive(Debug, Clone)]
pub struct UsageDay {
    /// A key's id, or the name of them all.
    pub subject: String,
    /// In UTC.
    pub date: Date,
    /// What it brought.
    pub day: Day,
}

impl Row for UsageDay {
    const TABLE: Table = Table::UsageDays;
    const BACKUP: Backup = Backup::Kept;
    const WRITTEN_BEHIND: bool = true;

    fn key(&self) -> Vec<u8> {
        key(&self.subject, self.date)
    }

    fn value(&self) -> Result<Vec<u8>, StoreError> {
        encode(&self.day)
    }

    fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let bar = key.iter().rposition(|byte| *byte == b'|').unwrap_or(key.len());
        let date = text(key.get(bar + 1..).unwrap_or_default())?;
        Ok(Self { subject: text(&key[..bar])?, date, day: decode(value)? })
    }
}

fn key(subject: &str, date: Date) -> Vec<u8> {
    entry(&[subject, &date.to_string()])
}

/// Reads days of use.
pub struct UsageDays<'a>(pub(in crate::store) &'a dyn Read);

impl UsageDays<'_> {
    /// A subject's day, if it was used.
    pub fn get(&self, subject: &str, date: Date) -> Result<Option<UsageDay>, StoreError> {
        load(self.0, key(subject, date))
    }

    /// The first days of a subject.
    pub fn oldest(&self, subject: &str, limit: usize) -> Result<Page<UsageDay>, StoreError> {
        page(self.0, Table::UsageDays, &owned_by(subject), None, Order::Ascending, limit)
    }
}
