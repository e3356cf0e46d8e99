//! All use cases of one process, opened over one store.

use crate::{
    cache::{claim_cache, key_cache, meter},
    config::settings::Config,
    domain::{key_format::KeyFormat, key_stream::KeyStream, server_secret::ServerSecret},
    platform::runtime::Runtime,
    service::{
        access_token,
        accounts::{hash_queue, setup, state},
        admin::migrations,
        caller_addresses,
        claims::registration_counts::{self, RegistrationCounts},
        context::Service,
        errors::OpenError,
        latest_time, rate_limit, usage_log,
    },
    store::{error::StoreError, handle::Store, rows},
};
use std::sync::{Arc, atomic::AtomicI64};
use tokio_util::sync::CancellationToken;

/// What every handler is given.
pub type App = Arc<Service>;

impl Service {
    /// Opens the use cases over a store. Refuses a newer store, and a server secret that is not the store's.
    pub async fn open(config: Arc<Config>, store: Store, secret: ServerSecret, runtime: Runtime) -> Result<Self, OpenError> {
        let secret_id = secret.id();
        migrations::migrate(&store, migrations::MIGRATIONS).await?;
        let (ids, format) = (secret.ids(), config.key_format());
        let sessions = config.sessions.clone();
        let made = || format!("pub_{}", KeyStream::fresh(runtime.bytes()).letters(32));
        let fresh = if sessions.password_grant { made() } else { String::new() };
        let (formats, publishable_key) = store
            .write(move |rows| {
                // All that keys were ever made with must be there; newer ones are remembered from now on.
                let stored: Vec<String> = rows::meta(rows, "secrets")?.unwrap_or_default();
                if let Some(missing) = stored.iter().find(|id| !ids.contains(id)) {
                    return Err(OpenError::WrongSecret { stored: missing.clone(), given: ids.join(", ") });
                }
                if stored != ids {
                    rows::save_meta(rows, "secrets", &ids)?;
                }
                let mut formats: Vec<KeyFormat> = rows::meta(rows, "key_formats")?.unwrap_or_default();
                if !formats.contains(&format) {
                    formats.push(format.clone());
                    rows::save_meta(rows, "key_formats", &formats)?;
                }
                let publishable_key = match rows::meta::<String>(rows, "publishable_key")? {
                    _ if !sessions.password_grant => String::new(),
                    _ if !sessions.publishable_key.is_empty() => sessions.publishable_key.clone(),
                    Some(made) => made,
                    None => {
                        rows::save_meta(rows, "publishable_key", &fresh)?;
                        fresh.clone()
                    }
                };
                Ok((formats, publishable_key))
            })
            .await?;
        let meters = Arc::<meter::Meters>::default();
        let known = Arc::new(key_cache::KeyCache::new(config.store.cached_keys, meters.clone()));
        let open_claims = Arc::new(claim_cache::ClaimCache::default());
        let registrations = Arc::<registration_counts::Registrations>::default();
        let (told, also_told, told_last) = (known.clone(), open_claims.clone(), registrations.clone());
        let setup = Arc::<setup::Setup>::default();
        let endings = Arc::new(tokio::sync::Notify::new());
        let ended = endings.clone();
        let following = setup.clone();
        store.observe(move |changed| {
            following.follow(changed);
            also_told.forget(changed);
            if told.forget(changed) {
                ended.notify_waiters();
            }
            // Last: who is woken finds nothing that the change made untrue.
            told_last.told(changed);
        });
        let count = registrations.clone();
        let (limits, noted) = store
            .read(|rows| {
                count.count(rows)?;
                Ok::<_, StoreError>((rate_limit::stored_limits(rows)?, latest_time::noted(rows)?))
            })
            .await?;
        let plans = rate_limit::PlanLimits::new(&config.plans, meters.clone(), &runtime);
        plans.restore(limits);
        let catalogue = config.catalogue();
        let session_tokens = if config.sessions.password_grant {
            let scopes = catalogue.iter().map(|(scope, _)| scope.clone()).collect();
            let tokens = access_token::SessionTokens::new(&secret, &config.public_url, config.resource(), publishable_key, scopes);
            Some(tokens.map_err(|error| OpenError::Signing(error.to_string()))?)
        } else {
            None
        };
        let service = Self {
            catalogue,
            session_tokens,
            meters,
            plans,
            unknown_tokens: rate_limit::SourceLimit::new(&runtime),
            usage: usage_log::UsageLog::default(),
            known,
            open_claims,
            callers: caller_addresses::Callers::new(&config),
            walk: state::ActivitySweep::default(),
            registrations,
            endings,
            time_noted: AtomicI64::new(i64::MIN),
            hashing: hash_queue::Hashing::default(),
            setup,
            draining: CancellationToken::new(),
            secret: Arc::new(secret),
            config,
            runtime,
            secret_id,
            store,
            formats,
        };
        service.go_on_from(noted);
        Ok(service)
    }

    /// Whether the store answers and the process is not about to end.
    pub async fn ready(&self) -> bool {
        !self.draining.is_cancelled() && self.store.read(|rows| rows::meta::<u32>(rows, "schema").map(|_| ())).await.is_ok()
    }

    /// Ends when nothing can be changed any more until this process is started again.
    pub async fn failed(&self) {
        self.store.ended().await;
    }

    /// How many polls wait for a human now.
    pub fn waiting(&self) -> usize {
        self.registrations.waiters.count()
    }

    /// What is known of registrations without looking.
    pub fn registrations(&self) -> RegistrationCounts {
        self.registrations.counts()
    }

    /// The process is about to end: waiting polls are told to come again.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Writes what is still in memory and waits until all of it is on disk.
    pub async fn close(&self) {
        self.flush_last_usage().await;
        if let Err(error) = self.flush_limits(true).await {
            tracing::warn!(%error, "what was used of rate limits in the last second is forgotten");
        }
        self.note_time().await;
        self.store.close().await;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}
