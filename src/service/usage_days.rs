//! The rows of use by day: one for each key and day, and one a day for all keys together.

use crate::{
    domain::usage::Day,
    store::{
        access::{Order, Read, Write},
        error::StoreError,
        rows,
        table::Table,
    },
};
use jiff::{ToSpan, civil::Date};
use std::collections::BTreeMap;

/// How many days of numbers are kept.
pub const RETENTION_DAYS: i64 = 400;

/// The subject of the rows that sum all keys.
pub const EVERYBODY: &str = "all";

fn row(subject: &str, date: Date) -> Vec<u8> {
    rows::entry(&[subject, &date.to_string()])
}

/// Adds to a subject's day.
pub fn add_day(rows: &mut dyn Write, subject: &str, date: Date, day: &Day) -> Result<(), StoreError> {
    let key = row(subject, date);
    let stored = rows.get(Table::UsageDays, &key)?;
    if stored.is_none() {
        forget_old_days(rows, subject, date)?;
    }
    let mut total: Day = stored.map(|bytes| rows::decode(&bytes)).transpose()?.unwrap_or_default();
    total.add(day);
    rows.put(Table::UsageDays, &key, rows::encode(&total)?);
    Ok(())
}

/// A day's first row takes the place of the oldest.
fn forget_old_days(rows: &mut dyn Write, subject: &str, today: Date) -> Result<(), StoreError> {
    let Ok(oldest) = today.checked_sub(RETENTION_DAYS.days()) else { return Ok(()) };
    for (key, _) in rows.scan(Table::UsageDays, &rows::entry(&[subject, ""]), None, Order::Ascending, 8)? {
        if key < row(subject, oldest) {
            rows.remove(Table::UsageDays, &key);
        }
    }
    Ok(())
}

/// The last `count` days of a subject, oldest first, days without use included.
pub fn last_days(rows: &dyn Read, subject: &str, today: Date, count: u16) -> Result<BTreeMap<Date, Day>, StoreError> {
    let mut days = BTreeMap::new();
    for back in 0..i64::from(count) {
        let Ok(date) = today.checked_sub(back.days()) else { continue };
        let stored = rows.get(Table::UsageDays, &row(subject, date))?;
        days.insert(date, stored.map(|bytes| rows::decode(&bytes)).transpose()?.unwrap_or_default());
    }
    Ok(days)
}
