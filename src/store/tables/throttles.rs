//! How often limits were charged in their present windows.

use crate::{
    domain::throttle::{Throttle, ThrottleCounter},
    store::{
        access::{Read, Write},
        error::StoreError,
        row::{Backup, Row, due_second, load, save, stored_as_json},
        table::Table,
    },
};
use jiff::Timestamp;

impl Row for ThrottleCounter {
    const TABLE: Table = Table::Counters;
    const INDEXES: &'static [Table] = &[Table::DueCounters];
    const BACKUP: Backup = Backup::Never;
    const EXPIRY: Option<Table> = Some(Table::DueCounters);

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.row.clone().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        vec![(Table::DueCounters, due_second(self.ends_at, self.row.as_bytes()))]
    }
}

/// Reads the counters of throttles.
pub struct Throttles<'a>(pub(in crate::store) &'a dyn Read);

impl Throttles<'_> {
    /// How often a limit was charged in the present window.
    pub fn charged(&self, limit: &Throttle, now: Timestamp) -> Result<u32, StoreError> {
        Ok(load::<ThrottleCounter>(self.0, limit.row(now))?.map_or(0, |counter| counter.count))
    }
}

impl dyn Write + '_ {
    /// Charges a limit once more.
    pub fn charge(&mut self, limit: &Throttle, now: Timestamp) -> Result<(), StoreError> {
        let row = limit.row(now);
        let count = load::<ThrottleCounter>(self, &row)?.map_or(0, |counter| counter.count).saturating_add(1);
        save(self, &ThrottleCounter { row, count, ends_at: limit.ends_at(now) })
    }
}
