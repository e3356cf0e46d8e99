//! Where a client keeps its key.

use crate::{
    api::{
        claims::Delivered,
        error::Error,
        values::{Revealed, Time},
    },
    client::{backend::Backend, remote::Origins},
    config::settings::Config,
    domain::id::KeyId,
    local_keys::{
        env_file::EnvFile,
        keys::{DEFAULT_PROFILE, Place, StoredKey, StoredKeyError, StoredKeys},
        profile::slug,
    },
    mcp::{
        arguments::{Delivery, PollArgs},
        client_claims::{Claims, Stored},
        results::{ClaimStatus, KeyRef, PollResult, RevokeResult, WHOSE},
    },
    platform::runtime::Runtime,
};
use rmcp::{RoleServer, service::RequestContext};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::sync::OnceCell;

/// What this client keeps on this computer: open claims and keys, each in 0600 files of the data directory.
pub struct KeyCustody {
    pub(crate) backend: Backend,
    /// The server keys come from and the API they open, once it was asked.
    pub(crate) origins: OnceCell<Origins>,
    pub(crate) config: Arc<Config>,
    /// Where open claims are kept, one file per profile: a folder of its own for each server elsewhere.
    pub(crate) open_claims: PathBuf,
    /// Where the client works: what `env_path` is relative to.
    pub(crate) folder: PathBuf,
    /// How a shell starts this program on the same data: it need not be on the PATH.
    pub(crate) program: String,
    /// `--profile`; else the first name the client gives itself, so that no client uses another's key.
    pub(crate) profile: OnceLock<String>,
    /// `COUNTERSIGN_API_KEY`.
    pub(crate) env_key: Option<Revealed>,
    pub(crate) credentials: StoredKeys,
    pub(crate) claims: OnceLock<Arc<Claims>>,
    /// What this client ended: told again when it asks again, although the key it had is gone.
    pub(crate) revoked: Mutex<HashMap<KeyId, RevokeResult>>,
    pub(crate) runtime: Runtime,
}

impl KeyCustody {
    /// Settled by the first call: since 2026-07-28 every request names its client, and a later one could name another.
    fn profile(&self, context: &RequestContext<RoleServer>) -> &str {
        self.profile.get_or_init(|| context.client_info().map_or_else(|| DEFAULT_PROFILE.to_owned(), |client| slug(&client.name)))
    }

    pub fn claims(&self, context: &RequestContext<RoleServer>) -> Arc<Claims> {
        let file = || self.open_claims.join(format!("{}.json", self.profile(context)));
        self.claims.get_or_init(|| Arc::new(Claims::in_file(file()))).clone()
    }

    async fn origins(&self) -> Result<&Origins, Error> {
        self.origins.get_or_try_init(|| self.backend.origins()).await
    }

    pub fn is_given_its_key(&self) -> bool {
        self.env_key.is_some()
    }

    /// The key from the environment, else the one this client's own claim stored last for this server.
    pub async fn credential(&self, context: &RequestContext<RoleServer>) -> Result<Option<Revealed>, Error> {
        if self.env_key.is_some() {
            return Ok(self.env_key.clone());
        }
        Ok(self.stored(context).await?.map(|credential| credential.key))
    }

    /// The key this client's own claim stored last for this server.
    pub async fn stored(&self, context: &RequestContext<RoleServer>) -> Result<Option<StoredKey>, Error> {
        let profile = self.profile(context);
        Ok(self.stored_keys().await?.into_iter().find(|key| key.profile == profile))
    }

    /// The keys of this server itself, newest first: what opens an API is not for every server that says it has one.
    async fn stored_keys(&self) -> Result<Vec<StoredKey>, Error> {
        let server = &self.origins().await?.server;
        let here = !matches!(self.backend, Backend::Server(_));
        let mut keys = self.blocking(StoredKeys::list).await?.unwrap_or_else(|error| {
            tracing::warn!("stored keys can't be read: {error}");
            Vec::new()
        });
        keys.retain(|key| if key.goes_with_the_data() { here } else { key.origin == *server });
        Ok(keys)
    }

    /// A keychain may take its time.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&StoredKeys) -> T + Send + 'static) -> Result<T, Error> {
        let credentials = self.credentials.clone();
        tokio::task::spawn_blocking(move || work(&credentials)).await.map_err(Error::internal)
    }

    /// Where the key is to go, and that it can go there: asked before one is taken, for a key that can't be kept is lost.
    pub fn destination(&self, context: &RequestContext<RoleServer>, args: &PollArgs) -> Result<Destination, Error> {
        let delivery = args.delivery.unwrap_or(Delivery::Store);
        if delivery != Delivery::EnvFile && (args.env_path.is_some() || args.env_name.is_some()) {
            return Err(Error::invalid("env_path", "and `env_name` go with delivery \"env_file\""));
        }
        match delivery {
            Delivery::Store => {
                let refused = |error| Error::Conflict { detail: format!("the key could not be stored, so it was not taken: {error}") };
                self.credentials.check_writable().map_err(refused)?;
                Ok(Destination::Store)
            }
            Delivery::EnvFile => {
                let path = args.env_path.as_deref().ok_or_else(|| Error::invalid("env_path", "is missing: name a file such as .env"))?;
                let file = EnvFile::new(&self.folder, path, args.env_name.as_deref().unwrap_or(&self.config.api.key_env))?;
                // Neither a form nor what a server says of its keys makes a value ours.
                file.check(|value| self.claims(context).wrote(value))?;
                Ok(Destination::EnvFile(file))
            }
            Delivery::Inline if self.config.mcp.allow_inline_delivery => Ok(Destination::Inline),
            Delivery::Inline => Err(Error::invalid("delivery", NOT_INLINE)),
            Delivery::Pickup => Err(Error::invalid("delivery", "must be \"store\" or \"env_file\" over stdio")),
        }
    }

    /// Puts a key where it is to go.
    pub async fn deliver(&self, context: &RequestContext<RoleServer>, to: &Destination, key: &Delivered) -> Result<Stored, Error> {
        let again = |error: &dyn std::fmt::Display| Error::Conflict {
            detail: format!("the key could not be stored: {error}; call poll_claim again within a minute"),
        };
        let stored_at = match to {
            Destination::Store => Some(self.store(context, key).await?.map_err(|error| again(&error))?.to_string()),
            Destination::EnvFile(file) => {
                Some(file.put(&key.access_token, |value| self.claims(context).wrote(value)).map_err(|error| again(&error))?)
            }
            Destination::Inline => None,
        };
        let ours = matches!(to, Destination::Store);
        Ok(Stored { key: KeyRef::from(key), approved_by: key.approved_by.clone(), stored_at, ours })
    }

    async fn store(&self, context: &RequestContext<RoleServer>, key: &Delivered) -> Result<Result<Place, StoredKeyError>, Error> {
        let origins = self.origins().await?;
        let credential = StoredKey {
            key_id: key.key_id,
            key: key.access_token.clone(),
            prefix: key.key_prefix.clone(),
            origin: origins.server.clone(),
            api_origin: origins.api.clone(),
            profile: self.profile(context).to_owned(),
            scopes: key.scope.clone(),
            environment: key.environment,
            expires_at: key.expires_at,
            stored_at: Time(self.runtime.now()),
            elsewhere: matches!(self.backend, Backend::Server(_)),
        };
        self.blocking(move |credentials| credentials.store(&credential)).await
    }

    pub async fn delivered(&self, stored: Stored, requested_scopes: Vec<String>) -> PollResult {
        const NOT_HERE: &str = "These tools don't know it: they use keys delivered with \"store\".";
        let (id, program) = (&stored.key.id, &self.program);
        let kept = self.stored_keys().await.is_ok_and(|keys| keys.iter().any(|key| key.key_id.to_string() == *id));
        let mut how = match &stored.stored_at {
            Some(_) if kept => format!(
                "Use it without reading it: `{program} curl --key {id} {}`, or `{program} exec --key {id} --env NAME -- COMMAND`.",
                self.config.api.r#try
            ),
            Some(_) if stored.ours => {
                "It is no longer kept here, because it was revoked or removed: register again if you need one.".to_owned()
            }
            Some(place) => {
                format!("It is {place}, which only this user can read: let your program load it, and don't print it. {NOT_HERE}")
            }
            None => format!("It was shown once and is kept nowhere else. {NOT_HERE}"),
        };
        if kept && self.is_given_its_key() {
            how.push_str(
                " These tools go on with the key in COUNTERSIGN_API_KEY until your human removes it and starts this client again.",
            );
        }
        PollResult {
            status: ClaimStatus::Delivered,
            next: format!("{WHOSE} {how}"),
            key: Some(stored.key),
            secret: None,
            requested_scopes,
            approved_by: Some(stored.approved_by),
            stored_at: stored.stored_at,
            pickup: None,
        }
    }

    /// What was said when this client revoked a key.
    pub fn revoked(&self, id: KeyId) -> Option<RevokeResult> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// A revoked key is of no use: its file goes.
    pub async fn forget_key(&self, id: KeyId, said: &RevokeResult) {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, said.clone());
        let kept = self.stored_keys().await.unwrap_or_default();
        let Some(StoredKey { origin, .. }) = kept.into_iter().find(|key| key.key_id == id) else { return };
        if let Ok(Err(error)) = self.blocking(move |credentials| credentials.remove(&origin, id)).await {
            tracing::warn!(%error, "could not remove the file of a revoked key");
        }
    }
}

/// Where a key goes once it is approved.
pub enum Destination {
    Store,
    EnvFile(EnvFile),
    /// Into the result, for whoever runs this and allowed it.
    Inline,
}

/// Said over every transport.
pub const NOT_INLINE: &str = "\"inline\" is not allowed here, because results are kept in transcripts: leave `delivery` out";
