//! All use cases of one process, opened over one store.

use crate::{
    cache::{claim_cache::ClaimCache, key_cache::KeyCache, meter::Meters},
    config::settings::Config,
    domain::{key_format::KeyFormat, key_stream::KeyStream, server_secret::ServerSecret},
    platform::runtime::Runtime,
    service::{
        access_token::SessionTokens,
        accounts::{
            hash_queue::Hashing,
            setup_code::Setup,
            state::{Accounts, ActivitySweep},
        },
        admin::{migrations, state::Admin},
        caller_addresses::Callers,
        claims::{registrations::Registrations, state::Claims},
        context::Context,
        errors::OpenError,
        housekeeping::Housekeeping,
        keys::state::Keys,
        latest_time::{self, LatestTime},
        rate_limit::{self, PlanLimits, SourceLimit},
        usage_log::UsageLog,
        verification::{revocations::Revocations, state::Verifier},
    },
    store::{changes::Follower, error::StoreError, handle::Store},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What every handler is given.
pub type App = Arc<Services>;

/// The contexts, and what surrounds them.
pub struct Services {
    pub context: Arc<Context>,
    pub verifier: Arc<Verifier>,
    pub accounts: Arc<Accounts>,
    pub keys: Arc<Keys>,
    pub claims: Arc<Claims>,
    pub admin: Admin,
    pub housekeeping: Housekeeping,
    pub latest_time: Arc<LatestTime>,
    /// What went wrong in telling where requests come from.
    pub callers: Callers,
    /// Set when the process is about to end: who waits is answered, and nobody new is sent here.
    draining: CancellationToken,
}

impl Services {
    /// Opens the use cases over a store. Refuses a newer store, and a server secret that is not the store's.
    pub async fn open(config: Arc<Config>, store: Store, secret: ServerSecret, runtime: Runtime) -> Result<Self, OpenError> {
        migrations::migrate(&store, migrations::MIGRATIONS).await?;
        let (ids, format) = (secret.ids(), config.key_format());
        let sessions = config.sessions.clone();
        let made = || format!("pub_{}", KeyStream::fresh(runtime.bytes()).letters(32));
        let fresh = if sessions.password_grant { made() } else { String::new() };
        let (formats, publishable_key) = store
            .write(move |tx| {
                // All that keys were ever made with must be there; newer ones are remembered from now on.
                let stored: Vec<String> = tx.setting("secrets")?.unwrap_or_default();
                if let Some(missing) = stored.iter().find(|id| !ids.contains(id)) {
                    return Err(OpenError::WrongSecret { stored: missing.clone(), given: ids.join(", ") });
                }
                if stored != ids {
                    tx.save_setting("secrets", &ids)?;
                }
                let mut formats: Vec<KeyFormat> = tx.setting("key_formats")?.unwrap_or_default();
                if !formats.contains(&format) {
                    formats.push(format.clone());
                    tx.save_setting("key_formats", &formats)?;
                }
                let publishable_key = match tx.setting::<String>("publishable_key")? {
                    _ if !sessions.password_grant => String::new(),
                    _ if !sessions.publishable_key.is_empty() => sessions.publishable_key.clone(),
                    Some(made) => made,
                    None => {
                        tx.save_setting("publishable_key", &fresh)?;
                        fresh.clone()
                    }
                };
                Ok((formats, publishable_key))
            })
            .await?;
        let meters = Arc::<Meters>::default();
        let key_cache = Arc::new(KeyCache::new(config.store.cached_keys, meters.clone()));
        let claim_cache = Arc::new(ClaimCache::default());
        let registrations = Arc::<Registrations>::default();
        let setup = Arc::<Setup>::default();
        let revocations = Arc::<Revocations>::default();
        // Registrations last: who is woken finds nothing that the change made untrue.
        let followers: [Arc<dyn Follower>; 5] =
            [setup.clone(), claim_cache.clone(), key_cache.clone(), revocations.clone(), registrations.clone()];
        for follower in followers {
            store.follow(follower).await?;
        }
        let (limits, noted) = store.read(|tx| Ok::<_, StoreError>((rate_limit::stored_limits(tx)?, latest_time::noted(tx)?))).await?;
        let rate_limits = PlanLimits::new(&config.plans, meters.clone(), &runtime);
        rate_limits.restore(limits);
        let catalogue = config.catalogue();
        let session_tokens = if config.sessions.password_grant {
            let scopes = catalogue.iter().map(|(scope, _)| scope.clone()).collect();
            let tokens = SessionTokens::new(&secret, &config.public_url, config.resource(), publishable_key, scopes);
            Some(Arc::new(tokens.map_err(|error| OpenError::Signing(error.to_string()))?))
        } else {
            None
        };
        let latest_time = Arc::new(LatestTime::new(runtime.clone(), store.clone()));
        latest_time.go_on_from(noted);
        let (callers, draining) = (Callers::new(&config), CancellationToken::new());
        let unknown_tokens = SourceLimit::new(&runtime);
        let context = Arc::new(Context { config, runtime, secret: Arc::new(secret), catalogue, store });
        let verifier = Arc::new(Verifier {
            context: context.clone(),
            formats,
            key_cache,
            meters,
            rate_limits,
            usage: UsageLog::default(),
            revocations,
            session_tokens: session_tokens.clone(),
            latest_time: latest_time.clone(),
            draining: draining.clone(),
        });
        let accounts = Arc::new(Accounts {
            context: context.clone(),
            hash_queue: Hashing::default(),
            setup,
            activity_sweep: ActivitySweep::default(),
            session_tokens,
            latest_time: latest_time.clone(),
        });
        let keys = Arc::new(Keys { context: context.clone(), accounts: accounts.clone(), verifier: verifier.clone() });
        let claims = Arc::new(Claims {
            context: context.clone(),
            keys: keys.clone(),
            accounts: accounts.clone(),
            claim_cache,
            registrations,
            unknown_tokens,
            latest_time: latest_time.clone(),
            draining: draining.clone(),
        });
        let housekeeping = Housekeeping {
            context: context.clone(),
            claims: claims.clone(),
            accounts: accounts.clone(),
            verifier: verifier.clone(),
            latest_time: latest_time.clone(),
        };
        let admin = Admin { context: context.clone(), accounts: accounts.clone(), verifier: verifier.clone() };
        Ok(Self { context, verifier, accounts, keys, claims, admin, housekeeping, latest_time, callers, draining })
    }

    /// Whether the store answers and the process is not about to end.
    pub async fn ready(&self) -> bool {
        !self.draining.is_cancelled() && self.context.store.read(|tx| tx.setting::<u32>("schema").map(|_| ())).await.is_ok()
    }

    /// Why the store failed, while it waits to be opened again.
    pub fn fault(&self) -> Option<StoreError> {
        self.context.store.fault()
    }

    /// Ends when nothing can be changed any more until this process is started again.
    pub async fn failed(&self) {
        self.context.store.ended().await;
    }

    /// The process is about to end: waiting polls are told to come again.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Writes what is still in memory and waits until all of it is on disk.
    pub async fn close(&self) {
        self.verifier.flush_last_usage().await;
        if let Err(error) = self.verifier.flush_limits(true).await {
            tracing::warn!(%error, "what was used of rate limits in the last second is forgotten");
        }
        self.latest_time.note_time().await;
        self.context.store.close().await;
    }
}
