//! The deployment in numbers, for whoever runs it.

use crate::{
    api::{error::Error, usage::UsageDays},
    domain::{
        daily_count::{CountedEvent, DailyCount},
        key::Key,
        usage::date,
    },
    service::admin::state::Admin,
    store::{
        access::{Order, Read},
        error::StoreError,
        rows,
        table::Table,
    },
};
use jiff::{Timestamp, ToSpan, civil::Date};

/// How far back the numbers go.
pub const DAYS: u16 = 30;

/// Rows per scan.
const BATCH: usize = 1000;

/// Nobody waits for a count past this.
const MOST: usize = 100_000;

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Exactly(usize),
    AtLeast(usize),
}

/// What agents asked and humans decided on one day (UTC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionsDay {
    pub date: Date,
    pub requested: u64,
    pub approved: u64,
    pub denied: u64,
}

/// The operator's page: how much there is, and how it is used.
#[derive(Debug, Clone)]
pub struct Overview {
    pub accounts: Count,
    pub active_keys: Count,
    /// The last [`DAYS`] days, oldest first.
    pub decisions: Vec<DecisionsDay>,
    /// The same days of all keys together.
    pub usage: UsageDays,
}

impl Admin {
    /// Counts anew each time; [`Count`] says where it stopped.
    pub async fn overview(&self) -> Result<Overview, Error> {
        let now = self.context.runtime.now();
        let usage = self.verifier.usage_of_all(DAYS).await?;
        self.context
            .store
            .read(|rows| {
                Ok(Overview {
                    accounts: count(rows, Table::Emails, |_| Ok(true))?,
                    active_keys: count(rows, Table::Keys, |row| Ok(rows::decode::<Key>(row)?.is_active(now)))?,
                    decisions: decisions(rows, now)?,
                    usage,
                })
            })
            .await
    }
}

fn count(rows: &dyn Read, table: Table, counts: impl Fn(&[u8]) -> Result<bool, StoreError>) -> Result<Count, StoreError> {
    let (mut found, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = rows.scan(table, &[], after.as_deref(), Order::Ascending, BATCH)?;
        for (_, row) in &page {
            found += usize::from(counts(row)?);
        }
        after = match page.last() {
            Some((key, _)) if page.len() == BATCH => Some(key.clone()),
            _ => return Ok(Count::Exactly(found)),
        };
        if found >= MOST {
            return Ok(Count::AtLeast(found));
        }
    }
}

fn decisions(rows: &dyn Read, now: Timestamp) -> Result<Vec<DecisionsDay>, StoreError> {
    let today = date(now);
    let mut days = Vec::with_capacity(usize::from(DAYS));
    for back in (0..i64::from(DAYS)).rev() {
        let Ok(date) = today.checked_sub(back.days()) else { continue };
        let count = |what| Ok::<_, StoreError>(rows::load::<DailyCount>(rows, rows::tally_key(date, what))?.map_or(0, |tally| tally.count));
        days.push(DecisionsDay {
            date,
            requested: count(CountedEvent::Requested)?,
            approved: count(CountedEvent::Approved)?,
            denied: count(CountedEvent::Denied)?,
        });
    }
    Ok(days)
}
