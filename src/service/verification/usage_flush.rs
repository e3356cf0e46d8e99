//! Writes what was counted in memory: uses of keys, and what is used of rate limits.

use crate::{
    api::error::Error,
    domain::{rate_limit::RateLimitKey, usage::Day},
    service::{
        usage_days::{EVERYBODY, add_day},
        usage_log::{MAX_KEYS_PER_SECOND, MAX_KEYS_PER_WRITE},
        verification::state::Verifier,
    },
    store::{
        access::Write,
        tables::{rate_limits::StoredTat, usage::KeyUsage},
    },
};
use governor::nanos::Nanos;
use jiff::civil::Date;
use std::{collections::BTreeMap, time::Duration};

/// How long a stop may take for them; what is left then is lost.
const FINAL_FLUSH_TIMEOUT: Duration = Duration::from_millis(1_500);

impl Verifier {
    /// The last writing before a stop.
    pub(in crate::service) async fn flush_last_usage(&self) {
        match tokio::time::timeout(FINAL_FLUSH_TIMEOUT, self.flush_usage(true)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "usage counts of the last minute are lost"),
            Err(_) => tracing::warn!(keys = self.usage.waiting().len(), "there was no time to write the usage counts of all keys"),
        }
    }

    /// Writes counts that are due, or all of them.
    pub(in crate::service) async fn flush_usage(&self, all: bool) -> Result<(), Error> {
        self.usage.begin(self.context.runtime.now(), all);
        loop {
            let batch = self.usage.take(if all { MAX_KEYS_PER_WRITE } else { MAX_KEYS_PER_SECOND });
            if batch.is_empty() {
                return Ok(());
            }
            let rows_to_write: Vec<_> = batch.iter().map(|(meter, pending)| (meter.of, pending.clone())).collect();
            let written = self.context.store.write(move |tx| {
                let mut everybody = BTreeMap::<Date, Day>::new();
                for (of, pending) in &rows_to_write {
                    let RateLimitKey::Key(key) = of else { continue };
                    let mut usage = tx.usage().of_key(*key)?;
                    pending.add_to(&mut usage);
                    for (date, day) in pending.days() {
                        everybody.entry(date).or_default().add(&day);
                        if let Some((date, day)) = usage.add_day(date, day) {
                            add_day(tx, &key.to_string(), date, &day)?;
                        }
                    }
                    tx.save(&KeyUsage { key: *key, usage })?;
                }
                everybody.iter().try_for_each(|(date, day)| add_day(tx, EVERYBODY, *date, day))?;
                Ok::<_, Error>(())
            });
            if let Err(error) = written.await {
                self.usage.give_back(batch);
                return Err(error);
            }
            if !all {
                return Ok(());
            }
        }
    }

    /// Writes what the store does not know yet of the limits. A kill forgets at most what was used since.
    pub(in crate::service) async fn flush_limits(&self, all: bool) -> Result<(), Error> {
        let unwritten = self.rate_limits.unwritten(all);
        let mut changes: Vec<(RateLimitKey, Option<Nanos>)> = unwritten.charged.iter().map(|(meter, at)| (meter.of, Some(*at))).collect();
        changes.extend(unwritten.replenished.iter().map(|key| (*key, None)));
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.context.store.write(move |tx: &mut dyn Write| {
            for (of, tat) in &changes {
                match tat {
                    Some(tat) => tx.put_rate_limit(StoredTat { of: *of, tat: tat.as_u64() })?,
                    None => tx.erase_rate_limit(*of),
                }
            }
            Ok::<_, Error>(())
        });
        match written.await {
            Ok(()) => self.rate_limits.written(&unwritten),
            Err(error) => {
                unwritten.charged.iter().for_each(|(meter, _)| self.rate_limits.list(meter));
                return Err(error);
            }
        }
        Ok(())
    }
}
