//! What time does by itself: registrations end, sessions and counters are forgotten, usage is written.

use crate::{
    api::error::Error,
    domain::registration::transitions::Registration,
    service::{
        accounts::state::Accounts, claims::state::Claims, context::Context, latest_time::LatestTime, redelivery::end_redelivery_of_key,
        verification::state::Verifier,
    },
    store::{declaration::sweep_all, error::StoreError},
};
use std::sync::Arc;

/// Rows per transaction: keeps the store's one writer free for others.
const ROWS_PER_TRANSACTION: usize = 500;

/// How often the server looks for what is due, in seconds.
pub const EVERY: u64 = 5;

/// What time does by itself.
pub struct Housekeeping {
    pub(in crate::service) context: Arc<Context>,
    /// Its registrations end, and its brakes are forgotten.
    pub(in crate::service) claims: Arc<Claims>,
    /// Old activity is forgotten.
    pub(in crate::service) accounts: Arc<Accounts>,
    /// Its counts are written.
    pub(in crate::service) verifier: Arc<Verifier>,
    /// It is noted now and then.
    pub(in crate::service) latest_time: Arc<LatestTime>,
}

impl Housekeeping {
    /// Does what is due now. Safe to run at any time and as often as one likes.
    pub async fn purge(&self) -> Result<(), Error> {
        while self.sweep_registrations(ROWS_PER_TRANSACTION).await? {}
        while self.forget_oldest().await? {}
        while self.sweep_rows(ROWS_PER_TRANSACTION).await? {}
        self.accounts.sweep_activity().await?;
        self.verifier.key_cache.forget_unused(self.context.runtime.monotonic_nanos().into());
        self.claims.unknown_tokens.forget_idle();
        self.latest_time.note_time_again().await;
        self.flush().await
    }

    /// Writes counts, both kinds with one fsync. Both to their ends: one that is broken off would forget what it took to
    /// write.
    async fn flush(&self) -> Result<(), Error> {
        let (limits, usage) = futures::join!(self.verifier.flush_limits(false), self.verifier.flush_usage(false));
        limits.and(usage.map(drop))
    }

    /// Step 6, by itself: ends what is over. Returns whether there may be more.
    pub(super) async fn sweep_registrations(&self, limit: usize) -> Result<bool, Error> {
        let now = self.context.runtime.now();
        let swept = self
            .context
            .store
            .write(move |tx| {
                let mut swept = 0;
                for registration in tx.registrations().due(now, limit)?.into_iter().filter(|registration| registration.due_at() <= now) {
                    let before = registration.clone();
                    if let Registration::Delivered { key, .. } = &before {
                        end_redelivery_of_key(tx, *key)?;
                    }
                    if let Registration::Approved { approval, .. } = &before
                        && let Some(mut grant) = tx.grants().get(approval.grant)?
                    {
                        grant.ended_at.get_or_insert(now);
                        tx.save(&grant)?;
                    }
                    match registration.sweep(now) {
                        Some(next) => tx.save(&next)?,
                        None => tx.erase(&before),
                    }
                    swept += 1;
                }
                Ok::<_, Error>(swept)
            })
            .await?;
        Ok(swept == limit)
    }

    /// Past as many again as may wait, answers of the oldest registrations are forgotten before their day is over: a
    /// flood must not fill the disk. Returns whether there may be more.
    async fn forget_oldest(&self) -> Result<bool, Error> {
        let most = 2 * i64::from(self.context.config.limits.pending_registrations);
        let surplus = usize::try_from(self.claims.registrations.stored() - most).unwrap_or(0);
        if surplus == 0 {
            return Ok(false);
        }
        let forgotten = self
            .context
            .store
            .write(move |tx| {
                let mut forgotten = 0;
                for registration in tx.registrations().oldest(ROWS_PER_TRANSACTION)? {
                    if registration.is_over() && forgotten < surplus {
                        tx.erase(&registration);
                        forgotten += 1;
                    }
                }
                Ok::<_, StoreError>(forgotten)
            })
            .await?;
        Ok(forgotten > 0)
    }

    async fn sweep_rows(&self, limit: usize) -> Result<bool, Error> {
        let now = self.context.runtime.now();
        self.context.store.write(move |tx| sweep_all(tx, now, limit).map_err(Error::from)).await
    }

    /// Does what is due every few seconds, until the process ends. Counts are written every second: of limits, that is
    /// all a kill gives back.
    pub async fn upkeep(&self) {
        if let Err(error) = self.verifier.learn_keys().await {
            tracing::warn!(%error, "unknown keys cost a read each");
        }
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for second in 0_u64.. {
            tick.tick().await;
            let done = if second % EVERY == 0 { self.purge().await } else { self.flush().await };
            if let Err(error) = done {
                tracing::warn!(%error, "upkeep failed; trying again");
            }
        }
    }
}
