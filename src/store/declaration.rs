//! The declarations of all tables as values: what goes over every table goes by them.

use crate::{
    domain::{
        account::{Account, KnownPlaces},
        activity::Event,
        daily_count::DailyCount,
        grant::Grant,
        idempotency::IdempotencyRecord,
        key::Key,
        operation::OperationRecord,
        program_session::ProgramSession,
        registration::transitions::Registration,
        session::{BrowserSession, PortalSession},
        throttle::ThrottleCounter,
    },
    store::{
        access::Write,
        error::StoreError,
        row::{Backup, Row, due_by, erase, load},
        table::Table,
        tables::{
            flagged_sources::FlaggedSource,
            rate_limits::StoredTat,
            settings::{self, Setting},
            usage::KeyUsage,
            usage_days::UsageDay,
        },
    },
};
use jiff::Timestamp;

/// A row's index entries, if its value reads well and lies under its own key.
pub type Entries = Vec<(Table, Vec<u8>)>;

/// What is wrong with a row by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFault {
    /// Its value is not what the table holds.
    Unreadable,
    /// Its value is another row's.
    Misplaced,
}

/// A table's declaration ([`Row`]), whatever its rows are.
pub struct Declaration {
    /// Where the rows lie.
    pub table: Table,
    /// What leads to them.
    pub indexes: &'static [Table],
    /// Whether they, with what leads to them, are part of a backup.
    pub backup: Backup,
    /// Whether they are written behind what they count.
    pub written_behind: bool,
    /// Reads a row and returns its index entries.
    pub entries: fn(key: &[u8], value: &[u8]) -> Result<Entries, RowFault>,
    /// Erases at most so many rows whose time is over by a moment, and returns how many it found.
    pub sweep: fn(tx: &mut dyn Write, now: Timestamp, limit: usize) -> Result<usize, StoreError>,
}

const fn of<R: Row>() -> Declaration {
    Declaration {
        table: R::TABLE,
        indexes: R::INDEXES,
        backup: R::BACKUP,
        written_behind: R::WRITTEN_BEHIND,
        entries: entries::<R>,
        sweep: sweep::<R>,
    }
}

fn entries<R: Row>(key: &[u8], value: &[u8]) -> Result<Entries, RowFault> {
    let row = R::read(key, value).map_err(|_| RowFault::Unreadable)?;
    if row.key() == key { Ok(row.index()) } else { Err(RowFault::Misplaced) }
}

fn sweep<R: Row>(tx: &mut dyn Write, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let Some(expiry) = R::EXPIRY else { return Ok(0) };
    let due = due_by(tx, expiry, now, limit)?;
    for key in &due {
        if let Some(row) = load::<R>(tx, key)? {
            erase(tx, &row);
        }
    }
    Ok(due.len())
}

/// Every table that holds rows. The others lead to them.
pub static DECLARATIONS: &[Declaration] = &[
    of::<Setting>(),
    of::<Registration>(),
    of::<Account>(),
    of::<KnownPlaces>(),
    of::<BrowserSession>(),
    of::<ProgramSession>(),
    of::<PortalSession>(),
    of::<Key>(),
    of::<KeyUsage>(),
    of::<UsageDay>(),
    of::<StoredTat>(),
    of::<IdempotencyRecord>(),
    of::<OperationRecord>(),
    of::<DailyCount>(),
    of::<Grant>(),
    of::<Event>(),
    of::<ThrottleCounter>(),
    of::<FlaggedSource>(),
];

/// Whether a table's rows are part of a backup. An index goes with the rows it leads to.
pub fn is_backed_up(table: Table) -> bool {
    DECLARATIONS.iter().any(|declared| declared.backup == Backup::Kept && (declared.table == table || declared.indexes.contains(&table)))
}

/// Whether a stored key is of a row that is written behind what it counts; the latest time seen is one. A kill loses none of
/// those; a power cut may take back the last, so nobody waits for them to be on disk.
pub fn is_written_behind(full_key: &[u8]) -> bool {
    let declared = DECLARATIONS.iter().find(|declared| declared.table.own(full_key).is_some());
    declared.is_some_and(|declared| declared.written_behind) || Table::Meta.own(full_key) == Some(settings::CLOCK.as_bytes())
}

/// Erases rows whose time is over by `now`, at most `limit` of each table. Returns whether there may be more.
///
/// # Errors
/// As any reading.
pub fn sweep_all(tx: &mut dyn Write, now: Timestamp, limit: usize) -> Result<bool, StoreError> {
    let mut more = false;
    for declared in DECLARATIONS {
        more |= (declared.sweep)(tx, now, limit)? == limit;
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_declared_once() {
        for &table in Table::ALL {
            let rows = DECLARATIONS.iter().filter(|declared| declared.table == table).count();
            let indexes = DECLARATIONS.iter().flat_map(|declared| declared.indexes).filter(|index| **index == table).count();
            assert_eq!(rows + indexes, 1, "{table:?}");
        }
    }
}
