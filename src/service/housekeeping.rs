//! What time does by itself: registrations end, sessions and counters are forgotten, usage is written.

use crate::{
    api::error::Error,
    domain::{
        idempotency::IdempotencyRecord,
        operation::OperationRecord,
        program_session::ProgramSession,
        registration::transitions::Registration,
        session::{BrowserSession, PortalSession},
        throttle::ThrottleCounter,
    },
    service::{
        accounts::state::Accounts, claims::state::Claims, context::Context, latest_time::LatestTime, redelivery::end_redelivery_of_key,
        verification::state::Verifier,
    },
    store::{
        access::{Order, Read},
        error::StoreError,
        rows,
        table::Table,
    },
};
use std::sync::Arc;

/// Rows per transaction: keeps the store's one writer free for others.
const BATCH: usize = 500;

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
        while self.sweep_registrations(BATCH).await? {}
        while self.forget_oldest().await? {}
        while self.sweep_rows(BATCH).await? {}
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
            .write(move |rows| {
                let due = rows::due_by(rows, Table::DueRegistrations, now, limit)?;
                let mut swept = 0;
                for key in &due {
                    let Some(registration) = rows::load::<Registration>(rows, key)?.filter(|r| r.due_at() <= now) else { continue };
                    let before = registration.clone();
                    if let Registration::Delivered { key, .. } = &before {
                        end_redelivery_of_key(rows, *key)?;
                    }
                    if let Registration::Approved { approval, .. } = &before
                        && let Some(mut grant) = rows::grant(rows, approval.grant)?
                    {
                        grant.ended_at.get_or_insert(now);
                        rows::save(rows, &grant)?;
                    }
                    match registration.sweep(now) {
                        Some(next) => rows::save(rows, &next)?,
                        None => rows::erase(rows, &before),
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
            .write(move |rows| {
                let mut forgotten = 0;
                for (_, row) in (rows as &dyn Read).scan(Table::Registrations, &[], None, Order::Ascending, BATCH)? {
                    let registration: Registration = rows::decode(&row)?;
                    if registration.is_over() && forgotten < surplus {
                        rows::erase(rows, &registration);
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
        let found = self
            .context
            .store
            .write(move |rows| {
                let sessions = rows::due_by(rows, Table::DueSessions, now, limit)?;
                for key in &sessions {
                    if let Some(session) = rows::load::<BrowserSession>(rows, key)? {
                        rows::erase(rows, &session);
                    }
                }
                let programs = rows::due_by(rows, Table::DueProgramSessions, now, limit)?;
                for key in &programs {
                    if let Some(session) = rows::load::<ProgramSession>(rows, key)? {
                        rows::erase(rows, &session);
                    }
                }
                let counters = rows::due_by(rows, Table::DueCounters, now, limit)?;
                for key in &counters {
                    if let Some(counter) = rows::load::<ThrottleCounter>(rows, key)? {
                        rows::erase(rows, &counter);
                    }
                }
                let operations = rows::due_by(rows, Table::DueOperations, now, limit)?;
                for key in &operations {
                    if let Some(operation) = rows::load::<OperationRecord>(rows, key)? {
                        rows::erase(rows, &operation);
                    }
                }
                let done = rows::due_by(rows, Table::DueDone, now, limit)?;
                for key in &done {
                    if let Some(done) = rows::load::<IdempotencyRecord>(rows, key)? {
                        rows::erase(rows, &done);
                    }
                }
                let tickets = rows::due_by(rows, Table::DuePortalSessions, now, limit)?;
                for key in &tickets {
                    if let Some(portal) = rows::load::<PortalSession>(rows, key)? {
                        rows::erase(rows, &portal);
                    }
                }
                let most = [sessions.len(), programs.len(), counters.len(), operations.len(), done.len(), tickets.len()];
                Ok::<_, Error>(most.into_iter().max().unwrap_or(0))
            })
            .await?;
        Ok(found == limit)
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
