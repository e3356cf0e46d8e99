//! The use cases: what can be done, whoever asks and over whichever transport.
//!
//! [`claim`] and `delivery` are the agent's side of the ceremony, [`review`] the human's, [`verify`] what services ask,
//! [`keys`] what owners do with keys, `endings` what ends with a key, [`agents`] with whom they let in, [`accounts`] and [`security`] who humans are and how
//! they sign in (`sign_in`; `setup` the first of them; [`hashing`] whose turn it is), [`program_sessions`] programs that sign in for them, [`portal`] how a service's own users come in,
//! [`activity`] what happened, [`callers`] where they ask from, [`operator`] and [`overview`] what whoever runs the deployment does and sees, [`upkeep`] what
//! time does by itself, [`backup`] and [`restore`] what comes back after a loss and what must not.

pub mod accounts;
pub mod activity;
pub mod agents;
pub mod backup;
pub mod callers;
pub mod claim;
mod delivery;
mod endings;
mod epoch;
mod error;
mod facts;
pub mod hashing;
mod introspect;
pub mod keys;
mod known;
mod meter;
mod open_claims;
mod operation;
pub mod operator;
pub mod overview;
mod plans;
pub mod portal;
mod presented;
pub mod program_sessions;
mod registrations;
pub mod restore;
pub mod review;
pub mod schema;
pub mod security;
mod session_tokens;
mod setup;
mod sign_in;
mod signed_in;
mod time_seen;
pub mod upkeep;
mod usage;
pub mod verify;
pub mod view;
mod waiters;

pub use error::Error;
pub use operation::Operation;
pub use registrations::RegistrationCounts;

use crate::{
    config::Config,
    domain::{
        account::Account,
        activity::{Event, What},
        id::{AccountId, EventId},
        key::KeyFormat,
        limit::Limit,
        scope::Catalogue,
        secret::{KeyStream, ServerSecret},
        source::Source,
    },
    store::{Read, Store, StoreError, Write, rows},
    world::World,
};
use jiff::Timestamp;
use std::sync::{Arc, atomic::AtomicI64};
use tokio_util::sync::CancellationToken;

/// The longest a poll is held, in seconds: below what proxies cut and clients wait for.
pub const MAX_WAIT: u64 = 55;

/// Everything the transports can do. One per process that owns a store.
pub struct Service {
    pub config: Arc<Config>,
    pub world: World,
    catalogue: Catalogue,
    secret: Arc<ServerSecret>,
    secret_id: String,
    store: Store,
    /// Every format a key of this store may have.
    formats: Vec<KeyFormat>,
    meters: Arc<meter::Meters>,
    plans: plans::PlanLimits,
    usage: usage::UsageLog,
    known: Arc<known::KnownKeys>,
    open_claims: Arc<open_claims::OpenClaims>,
    registrations: Arc<registrations::Registrations>,
    pub callers: callers::Callers,
    /// Told after each commit that changes keys or accounts.
    endings: Arc<tokio::sync::Notify>,
    unknown_tokens: plans::SourceLimit,
    walk: activity::Walk,
    /// The latest time that the store knows, in Unix milliseconds.
    time_noted: AtomicI64,
    hashing: hashing::Hashing,
    setup: Arc<setup::Setup>,
    /// Where the configuration lets programs sign in.
    session_tokens: Option<session_tokens::SessionTokens>,
    /// Set when the process is about to end: who waits is answered, and nobody new is sent here.
    draining: CancellationToken,
}

impl Service {
    /// Opens the use cases over a store. Refuses a newer store, and a server secret that is not the store's.
    pub async fn open(config: Arc<Config>, store: Store, secret: ServerSecret, world: World) -> Result<Self, OpenError> {
        let secret_id = secret.id();
        schema::migrate(&store, schema::MIGRATIONS).await?;
        let (ids, format) = (secret.ids(), config.key_format());
        let sessions = config.sessions.clone();
        let made = || format!("pub_{}", KeyStream::fresh(world.bytes()).letters(32));
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
        let known = Arc::new(known::KnownKeys::new(config.store.cached_keys, meters.clone()));
        let open_claims = Arc::new(open_claims::OpenClaims::default());
        let registrations = Arc::<registrations::Registrations>::default();
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
                Ok::<_, StoreError>((plans::stored_limits(rows)?, time_seen::noted(rows)?))
            })
            .await?;
        let plans = plans::PlanLimits::new(&config.plans, meters.clone(), &world);
        plans.restore(limits);
        let catalogue = config.catalogue();
        let session_tokens = if config.sessions.password_grant {
            let scopes = catalogue.iter().map(|(scope, _)| scope.clone()).collect();
            let tokens = session_tokens::SessionTokens::new(&secret, &config.public_url, config.resource(), publishable_key, scopes);
            Some(tokens.map_err(|error| OpenError::Signing(error.to_string()))?)
        } else {
            None
        };
        let service = Self {
            catalogue,
            session_tokens,
            meters,
            plans,
            unknown_tokens: plans::SourceLimit::new(&world),
            usage: usage::UsageLog::default(),
            known,
            open_claims,
            callers: callers::Callers::new(&config),
            walk: activity::Walk::default(),
            registrations,
            endings,
            time_noted: AtomicI64::new(i64::MIN),
            hashing: hashing::Hashing::default(),
            setup,
            draining: CancellationToken::new(),
            secret: Arc::new(secret),
            config,
            world,
            secret_id,
            store,
            formats,
        };
        service.go_on_from(noted);
        Ok(service)
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
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

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data was written by a newer countersign (schema {data}, this one knows {known}): use that version or a newer one")]
    NewerSchema { data: u32, known: u32 },
    #[error(
        "the server secret is not the one this data was made with (id {given}, the data says {stored}): \
         put the right file back (`secret_file`); without it no key works"
    )]
    WrongSecret { stored: String, given: String },
    #[error("session tokens can't be signed: {0}")]
    Signing(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds a line to an account's activity.
fn record(
    rows: &mut dyn Write,
    account: AccountId,
    source: Option<Source>,
    what: What,
    now: Timestamp,
    random: [u8; 16],
) -> Result<(), StoreError> {
    rows::save(rows, &Event { id: EventId::new(now, random), account, at: now, source, what })
}

/// The first of `limits` that is used up, as the error its guesser gets.
fn used_up(rows: &dyn Read, limits: &[Limit], now: Timestamp, detail: &str) -> Result<(), Error> {
    for limit in limits {
        if rows::charged(rows, limit, now)? >= limit.max {
            return Err(Error::TooMany { detail: detail.to_owned(), retry_after: limit.retry_after(now) });
        }
    }
    Ok(())
}

fn any_used_up(rows: &dyn Read, limits: &[Limit], now: Timestamp) -> Result<bool, StoreError> {
    limits.iter().try_fold(false, |used_up, limit| Ok(used_up || rows::charged(rows, limit, now)? >= limit.max))
}

fn charge_all(rows: &mut dyn Write, limits: &[Limit], now: Timestamp) -> Result<(), StoreError> {
    limits.iter().try_for_each(|limit| rows::charge(rows, limit, now))
}

/// An account that may act: there, and not disabled.
fn acting(rows: &(impl Read + ?Sized), id: AccountId) -> Result<Account, Error> {
    rows::account(rows, id)?.filter(|account| account.disabled_at.is_none()).ok_or(Error::SignInNeeded)
}
