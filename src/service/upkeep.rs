//! What time does by itself: registrations end, sessions and counters are forgotten, usage is written.

use super::{Error, Service};
use crate::{
    domain::account::Session,
    domain::limit::Counter,
    store::{Order, Read, StoreError, Table, rows},
};

/// Rows per transaction: keeps the store's one writer free for others.
const BATCH: usize = 500;
/// How often the server looks, in seconds.
pub const EVERY: u64 = 5;

impl Service {
    /// Does what is due now. Safe to run at any time and as often as one likes.
    pub async fn purge(&self) -> Result<(), Error> {
        while self.sweep_registrations(BATCH).await? {}
        while self.sweep_rows(BATCH).await? {}
        self.plans.forget_idle();
        self.unknown_tokens.forget_idle();
        self.flush_usage(false).await
    }

    async fn sweep_rows(&self, limit: usize) -> Result<bool, Error> {
        let now = self.world.now();
        let found = self
            .store
            .write(move |rows| {
                let sessions = rows::due_by(rows, Table::DueSessions, now, limit)?;
                for key in &sessions {
                    if let Some(session) = rows::load::<Session>(rows, key)? {
                        rows::erase(rows, &session);
                    }
                }
                let counters = rows::due_by(rows, Table::DueCounters, now, limit)?;
                for key in &counters {
                    if let Some(counter) = rows::load::<Counter>(rows, key)? {
                        rows::erase(rows, &counter);
                    }
                }
                Ok::<_, Error>(sessions.len().max(counters.len()))
            })
            .await?;
        Ok(found == limit)
    }

    /// Does what is due every few seconds, until the process ends.
    pub async fn upkeep(&self) {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(EVERY));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.purge().await {
                tracing::warn!(%error, "upkeep failed; trying again");
            }
        }
    }
}

/// Counts pending registrations at start, page by page.
pub(super) fn count_pending(rows: &dyn Read) -> Result<i64, StoreError> {
    let (mut count, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = rows.scan(Table::Pending, &[], after.as_deref(), Order::Ascending, 1000)?;
        count += i64::try_from(page.len()).unwrap_or(i64::MAX);
        if page.len() < 1000 {
            return Ok(count);
        }
        after = page.last().map(|(key, _)| key.clone());
    }
}
