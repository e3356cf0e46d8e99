//! A key's use, as it is shown.

use crate::{
    api::{
        error::Error,
        usage::{UsageDay, UsageDays},
    },
    domain::{
        id::KeyId,
        rate_limit::RateLimitKey,
        usage::{Day, Usage, date},
    },
    service::{
        usage_days::{EVERYBODY, last_days},
        verification::state::Verifier,
    },
};
use jiff::civil::Date;
use std::collections::BTreeMap;

/// Stored days with what is still in memory, for the days that were asked for.
pub fn shown(mut days: BTreeMap<Date, Day>, pending: impl IntoIterator<Item = (Date, Day)>) -> UsageDays {
    for (date, day) in pending {
        if let Some(there) = days.get_mut(&date) {
            there.add(&day);
        }
    }
    let day = |(date, day): (Date, Day)| UsageDay { date: date.to_string(), accepted: day.accepted, refused: day.refused };
    UsageDays { days: days.into_iter().map(day).collect() }
}

impl Verifier {
    /// The stored numbers of a key with what is still in memory.
    pub(in crate::service) fn merged_usage(&self, key: KeyId, mut stored: Usage) -> Usage {
        if let Some(pending) = self.meters.find(RateLimitKey::Key(key)).and_then(|meter| meter.uses().clone()) {
            pending.add_to(&mut stored);
        }
        stored
    }

    /// The same for all keys of the deployment together.
    pub async fn usage_of_all(&self, days: u16) -> Result<UsageDays, Error> {
        let today = date(self.context.runtime.now());
        let stored = self.context.store.read(|tx| last_days(tx, EVERYBODY, today, days)).await?;
        Ok(shown(stored, self.usage.all_pending_days()))
    }
}
