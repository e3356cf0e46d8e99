//! Whether a store hangs together: every row of every table reads, and rows and index entries lead to each other.

use crate::store::{
    access::Read,
    declaration::{DECLARATIONS, Declaration, RowFault},
    error::StoreError,
    table::Table,
    walk,
};

/// Faults that are told one by one; the rest is counted.
const MAX_TOLD: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows and index entries that were looked at.
    pub rows: u64,
    /// Those that are wrong.
    pub faults: u64,
    /// The first of them, in words, without what the rows hold.
    pub told: Vec<String>,
    /// How many rows each table has, indexes left out.
    pub tables: Vec<(Table, u64)>,
}

impl Report {
    fn fault(&mut self, table: Table, key: &[u8], what: &str) {
        self.faults += 1;
        if self.told.len() < MAX_TOLD {
            let shown = match std::str::from_utf8(key) {
                Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
                _ => format!("({} bytes)", key.len()),
            };
            self.told.push(format!("{table:?} {shown}: {what}"));
        }
    }
}

/// Looks at everything.
///
/// # Errors
/// Where the store can't even be read.
pub fn check(tx: &dyn Read) -> Result<Report, StoreError> {
    let mut report = Report::default();
    for declared in DECLARATIONS {
        rows(tx, declared, &mut report)?;
        for index in declared.indexes {
            entries(tx, declared, *index, &mut report)?;
        }
    }
    Ok(report)
}

fn rows(tx: &dyn Read, declared: &Declaration, report: &mut Report) -> Result<(), StoreError> {
    let (table, before) = (declared.table, report.rows);
    walk::each(tx, table, |key, value| {
        report.rows += 1;
        match (declared.entries)(key, value) {
            Err(RowFault::Unreadable) => report.fault(table, key, "can't be read"),
            Err(RowFault::Misplaced) => report.fault(table, key, "lies under another row's key"),
            Ok(entries) => {
                for (index, entry) in entries {
                    if tx.get(index, &entry)?.as_deref() != Some(key) {
                        report.fault(table, key, &format!("is not found through {index:?}"));
                    }
                }
            }
        }
        Ok(())
    })?;
    report.tables.push((table, report.rows - before));
    Ok(())
}

fn entries(tx: &dyn Read, declared: &Declaration, index: Table, report: &mut Report) -> Result<(), StoreError> {
    walk::each(tx, index, |entry, key| {
        report.rows += 1;
        let row = tx.get(declared.table, key)?.and_then(|value| (declared.entries)(key, &value).ok());
        if !row.is_some_and(|known| known.iter().any(|(table, its)| *table == index && its == entry)) {
            report.fault(index, entry, "leads to no such row");
        }
        Ok(())
    })
}
