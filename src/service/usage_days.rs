//! The rows of use by day: one for each key and day, and one a day for all keys together.

use crate::{
    domain::usage::Day,
    store::{
        access::{Read, Write},
        error::StoreError,
        tables::usage_days::UsageDay,
    },
};
use jiff::{ToSpan, civil::Date};
use std::collections::BTreeMap;

/// How many days of numbers are kept.
pub const RETENTION_DAYS: i64 = 400;

/// The subject of the rows that sum all keys.
pub const EVERYBODY: &str = "all";

/// Adds to a subject's day.
pub fn add_day(tx: &mut dyn Write, subject: &str, date: Date, day: &Day) -> Result<(), StoreError> {
    let stored = tx.usage_days().get(subject, date)?;
    if stored.is_none() {
        forget_old_days(tx, subject, date)?;
    }
    let mut total = stored.unwrap_or_else(|| UsageDay { subject: subject.to_owned(), date, day: Day::default() });
    total.day.add(day);
    tx.save(&total)
}

/// A day's first row takes the place of the oldest.
fn forget_old_days(tx: &mut dyn Write, subject: &str, today: Date) -> Result<(), StoreError> {
    let Ok(oldest) = today.checked_sub(RETENTION_DAYS.days()) else { return Ok(()) };
    for old in tx.usage_days().oldest(subject, 8)?.rows.iter().filter(|stored| stored.date < oldest) {
        tx.erase(old);
    }
    Ok(())
}

/// The last `count` days of a subject, oldest first, days without use included.
pub fn last_days(tx: &dyn Read, subject: &str, today: Date, count: u16) -> Result<BTreeMap<Date, Day>, StoreError> {
    let mut days = BTreeMap::new();
    for back in 0..i64::from(count) {
        let Ok(date) = today.checked_sub(back.days()) else { continue };
        days.insert(date, tx.usage_days().get(subject, date)?.map(|stored| stored.day).unwrap_or_default());
    }
    Ok(days)
}
