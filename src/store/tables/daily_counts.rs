//! How often agents asked and humans decided, a row a day and kind.

use crate::{
    domain::daily_count::{CountedEvent, DailyCount},
    store::{
        access::{Read, Write},
        error::StoreError,
        row::{Backup, Row, entry, load, save, stored_as_json},
        table::Table,
    },
};
use jiff::{Timestamp, civil::Date};

impl Row for DailyCount {
    const TABLE: Table = Table::Tallies;
    const BACKUP: Backup = Backup::Kept;

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        key(self.day, self.what)
    }
}

fn key(day: Date, what: CountedEvent) -> Vec<u8> {
    entry(&[&day.to_string(), what.as_str()])
}

/// Reads daily counts.
pub struct DailyCounts<'a>(pub(in crate::store) &'a dyn Read);

impl DailyCounts<'_> {
    /// How often it happened on that day (UTC).
    pub fn of_day(&self, day: Date, what: CountedEvent) -> Result<u64, StoreError> {
        Ok(load::<DailyCount>(self.0, key(day, what))?.map_or(0, |counted| counted.count))
    }
}

impl dyn Write + '_ {
    /// Counts something for its day, in the transaction in which it happens.
    pub fn count_event(&mut self, what: CountedEvent, now: Timestamp) -> Result<(), StoreError> {
        let fresh = DailyCount::new(what, now);
        let mut counted = load(self, fresh.key())?.unwrap_or(fresh);
        counted.count += 1;
        save(self, &counted)
    }
}
