//! The deployment in numbers, for whoever runs it.

use crate::{
    api::{error::Error, usage::UsageDays},
    domain::{daily_count::CountedEvent, usage::date},
    service::admin::state::Admin,
    store::{access::Read, error::StoreError},
};
use jiff::{Timestamp, ToSpan, civil::Date};

/// How far back the numbers go.
pub const DAYS: u16 = 30;

/// Keys looked at per page.
const KEYS_PER_PAGE: usize = 1000;

/// Nobody waits for a count past this.
const MAX_COUNTED: usize = 100_000;

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
            .read(|tx| {
                Ok(Overview {
                    accounts: counted(tx.accounts().count(MAX_COUNTED)?),
                    active_keys: active_keys(tx, now)?,
                    decisions: decisions(tx, now)?,
                    usage,
                })
            })
            .await
    }
}

/// Exactly, up to where nobody waits for a count.
fn counted(found: usize) -> Count {
    if found < MAX_COUNTED { Count::Exactly(found) } else { Count::AtLeast(found) }
}

/// Whether a key works depends on the time, so each is looked at.
fn active_keys(tx: &dyn Read, now: Timestamp) -> Result<Count, StoreError> {
    let (mut found, mut after) = (0, None);
    loop {
        let page = tx.keys().oldest_first(after, KEYS_PER_PAGE)?;
        found += page.rows.iter().filter(|key| key.is_active(now)).count();
        match page.rows.last() {
            Some(last) if !page.is_last && found < MAX_COUNTED => after = Some(last.id),
            _ => return Ok(counted(found)),
        }
    }
}

fn decisions(tx: &dyn Read, now: Timestamp) -> Result<Vec<DecisionsDay>, StoreError> {
    let today = date(now);
    let mut days = Vec::with_capacity(usize::from(DAYS));
    for back in (0..i64::from(DAYS)).rev() {
        let Ok(date) = today.checked_sub(back.days()) else { continue };
        let count = |what| tx.daily_counts().of_day(date, what);
        days.push(DecisionsDay {
            date,
            requested: count(CountedEvent::Requested)?,
            approved: count(CountedEvent::Approved)?,
            denied: count(CountedEvent::Denied)?,
        });
    }
    Ok(days)
}
