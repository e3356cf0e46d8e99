//! Whether a store hangs together: every row reads, and rows and index entries lead to each other.

use crate::{
    domain::{
        account::Account,
        activity::Event,
        grant::Grant,
        key::Key,
        registration::transitions::Registration,
        session::BrowserSession,
        throttle::ThrottleCounter,
        usage::{Day, Usage},
    },
    store::{
        access::{Order, Read},
        error::StoreError,
        rows::{self, Row},
        table::Table,
    },
};
use serde::de::DeserializeOwned;

const PAGE: usize = 1000;

/// Faults that are told one by one; the rest is counted.
const TOLD: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    pub rows: u64,
    pub faults: u64,
    /// The first of them, in words, without what the rows hold.
    pub told: Vec<String>,
}

impl Report {
    fn fault(&mut self, table: Table, key: &[u8], what: &str) {
        self.faults += 1;
        if self.told.len() < TOLD {
            let shown = match std::str::from_utf8(key) {
                Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
                _ => format!("({} bytes)", key.len()),
            };
            self.told.push(format!("{table:?} {shown}: {what}"));
        }
    }
}

/// Looks at everything. An error means that the store can't even be read.
pub fn check(rows: &dyn Read) -> Result<Report, StoreError> {
    use crate::store::table::Table::{
        AccountGrants, AccountKeys, AccountSessions, Children, ClaimTokens, CrowdedPending, DueCounters, DueRegistrations, DueSessions,
        Emails, Handles, KeyHashes, Pending, Pickups, UserCodes,
    };
    let mut report = Report::default();
    of_type::<Account>(rows, &[Emails], &mut report)?;
    of_type::<BrowserSession>(rows, &[AccountSessions, DueSessions], &mut report)?;
    of_type::<Key>(rows, &[KeyHashes, AccountKeys, Children], &mut report)?;
    of_type::<Grant>(rows, &[AccountGrants], &mut report)?;
    of_type::<Event>(rows, &[], &mut report)?;
    of_type::<ThrottleCounter>(rows, &[DueCounters], &mut report)?;
    of_type::<Registration>(rows, &[ClaimTokens, UserCodes, Pickups, Handles, Pending, CrowdedPending, DueRegistrations], &mut report)?;
    values::<Usage>(rows, Table::Usage, &mut report)?;
    values::<Day>(rows, Table::UsageDays, &mut report)?;
    Ok(report)
}

fn values<T: DeserializeOwned>(rows: &dyn Read, table: Table, report: &mut Report) -> Result<(), StoreError> {
    each(rows, table, report, |key, value, report| {
        if rows::decode::<T>(value).is_err() {
            report.fault(table, key, "can't be read");
        }
        Ok(())
    })
}

fn of_type<R: Row>(rows: &dyn Read, indexes: &[Table], report: &mut Report) -> Result<(), StoreError> {
    each(rows, R::TABLE, report, |key, value, report| {
        let Ok(row) = rows::decode::<R>(value) else {
            report.fault(R::TABLE, key, "can't be read");
            return Ok(());
        };
        if row.key() != key {
            report.fault(R::TABLE, key, "lies under another row's key");
        }
        for (index, entry) in row.index() {
            if rows.get(index, &entry)?.as_deref() != Some(key) {
                report.fault(R::TABLE, key, &format!("is not found through {index:?}"));
            }
        }
        Ok(())
    })?;
    for index in indexes {
        each(rows, *index, report, |entry, key, report| {
            let row = rows.get(R::TABLE, key)?.and_then(|value| rows::decode::<R>(&value).ok());
            if !row.is_some_and(|row| row.index().iter().any(|(table, known)| table == index && known == entry)) {
                report.fault(*index, entry, "leads to no such row");
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn each(
    rows: &dyn Read,
    table: Table,
    report: &mut Report,
    mut look: impl FnMut(&[u8], &[u8], &mut Report) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = None::<Vec<u8>>;
    loop {
        let page = rows.scan(table, &[], after.as_deref(), Order::Ascending, PAGE)?;
        for (key, value) in &page {
            report.rows += 1;
            look(key, value, report)?;
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
}
