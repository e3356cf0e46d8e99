//! A new key: its secret, its lifetime, and how it is shown the one time.

use crate::{
    api::{
        error::Error,
        keys::{Issued, KeyView},
    },
    domain::{
        digest::Digest,
        environment::Environment,
        id::{AccountId, KeyId},
        key::Key,
        key_stream::KeyStream,
        scope::{Scope, ScopeSet},
        secret::ApiKey,
        server_secret::Purpose,
    },
    platform::runtime::Runtime,
    service::keys::state::Keys,
    store::access::Read,
};
use jiff::{SignedDuration, Timestamp};

/// Seconds a key may be asked to live.
pub const MIN_LIFETIME_SECONDS: i64 = 60;

/// Ten years. Past it a date stands for "for ever", which has a word of its own: none.
pub const MAX_LIFETIME_SECONDS: i64 = 24 * 3660 * 3600;

/// A secret that was just drawn, with what the store may know of it.
pub(crate) struct Fresh {
    pub(crate) id: KeyId,
    pub(crate) secret: ApiKey,
    pub(crate) hash: Digest,
    pub(crate) shown: String,
}

impl Keys {
    /// Draws a key in the format new ones have.
    pub(crate) fn fresh_key(&self, environment: Environment, runtime: &Runtime) -> Fresh {
        let mut stream = KeyStream::fresh(runtime.bytes());
        let (secret, shown) = self.context.config.key_format().make(environment, &mut stream);
        let hash = self.context.secret.hash(Purpose::ApiKey, secret.expose().as_bytes());
        Fresh { id: KeyId::new(runtime.now(), runtime.bytes()), secret, hash, shown }
    }

    /// Reads the names of scopes a key is to have: at least one, all of the catalogue.
    ///
    /// # Errors
    /// [`Error::Invalid`]: none, one that is no scope, or one the catalogue does not have.
    pub(crate) fn known_scopes(&self, scopes: &[String]) -> Result<ScopeSet, Error> {
        let mut known = Vec::new();
        for text in scopes {
            let scope: Scope = text.parse().map_err(|error| Error::invalid("scopes", format!("{error}")))?;
            if self.context.catalogue.get(&scope).is_none() {
                let known: Vec<_> = self.context.catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
                return Err(Error::invalid(
                    "scopes",
                    format!("names `{scope}`, which is not in this service's catalogue: {}", known.join(" ")),
                ));
            }
            known.push(scope);
        }
        if known.is_empty() {
            return Err(Error::invalid("scopes", "must name at least one scope"));
        }
        Ok(known.into_iter().collect())
    }

    /// What its owner sees, with the uses that are not written yet.
    pub(crate) fn view(&self, tx: &dyn Read, key: &Key, now: Timestamp) -> Result<KeyView, Error> {
        let usage = self.verifier.merged_usage(key.id, tx.usage().of_key(key.id)?);
        let account = tx.accounts().get(key.account)?;
        let plan = account.as_ref().map_or_else(String::new, |account| account.plan.clone());
        let approver = |id: AccountId| match &account {
            Some(account) if account.id == id => account.email.masked(),
            _ => id.to_string(),
        };
        Ok(KeyView::new(key, &usage, &plan, approver, now))
    }

    /// What create and rotate answer: a key that was just made with its secret, one that was made before without.
    pub(crate) async fn issued(&self, id: KeyId, secret: Option<&ApiKey>) -> Result<Issued, Error> {
        let now = self.context.runtime.now();
        self.context
            .store
            .read(|tx| {
                let key = tx.keys().get(id)?.ok_or_else(|| Error::not_found("key"))?;
                let replaced = match key.replaces {
                    Some(old) => tx.keys().get(old)?.map(|old| self.view(tx, &old, now)).transpose()?,
                    None => None,
                };
                Ok(Issued::new(secret, self.view(tx, &key, now)?, replaced))
            })
            .await
    }
}

/// How long a key may be asked to live.
///
/// # Errors
/// As [`checked_lifetime`].
pub fn lifetime(expires_in: Option<i64>) -> Result<Option<SignedDuration>, Error> {
    expires_in.map(|seconds| checked_lifetime("expires_in", seconds)).transpose()
}

/// The one bound on what anybody may choose, whether or not something was offered.
///
/// # Errors
/// [`Error::Invalid`]: less than a minute, or more than ten years.
pub fn checked_lifetime(field: &str, seconds: i64) -> Result<SignedDuration, Error> {
    if (MIN_LIFETIME_SECONDS..=MAX_LIFETIME_SECONDS).contains(&seconds) {
        return Ok(SignedDuration::from_secs(seconds));
    }
    Err(Error::invalid(field, "must be from 60 seconds to ten years"))
}
