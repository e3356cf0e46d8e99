//! Writes what rate limits have used.

use crate::{
    api::error::Error,
    domain::rate_limit::RateLimitKey,
    service::context::Service,
    store::{engine::Write, table::Table},
};
use governor::nanos::Nanos;

impl Service {
    /// Writes what the store does not know yet of the limits. A kill forgets at most what was used since.
    pub(super) async fn flush_limits(&self, all: bool) -> Result<(), Error> {
        let unwritten = self.plans.unwritten(all);
        let mut changes: Vec<(RateLimitKey, Option<Nanos>)> = unwritten.charged.iter().map(|(meter, at)| (meter.of, Some(*at))).collect();
        changes.extend(unwritten.whole.iter().map(|bucket| (*bucket, None)));
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.store().write(move |rows: &mut dyn Write| {
            for (bucket, tat) in &changes {
                let key = bucket.to_string();
                match tat {
                    Some(tat) => rows.put(Table::RateLimits, key.as_bytes(), tat.as_u64().to_string().into_bytes()),
                    None => rows.remove(Table::RateLimits, key.as_bytes()),
                }
            }
            Ok::<_, Error>(())
        });
        match written.await {
            Ok(()) => self.plans.written(&unwritten),
            Err(error) => {
                unwritten.charged.iter().for_each(|(meter, _)| self.plans.list(meter));
                return Err(error);
            }
        }
        Ok(())
    }
}
