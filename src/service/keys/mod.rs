//! What owners, operators and keys themselves do with keys: create, list, edit, rotate, revoke.
//!
//! Who may what: a human's session and the operator act on every key of the account; a key on itself (see, revoke),
//! with `keys:read` and `keys:revoke` on all keys of its account, with `keys:write` on its descendants. It is asked
//! inside the transaction that changes something, of the acting key as it then is: a key that was narrowed or revoked
//! a moment ago, or a session that was ended, changes nothing any more. A human gives a right (a new key or secret, more
//! scopes, a key that works again) only with a fresh sign-in, and takes one away at any time. What is taken from a key reaches further than itself: [`lineage`].

mod create;
mod edit;
mod lineage;
mod list;
mod once;
mod revoke;
mod rotate;

pub use create::NewKey;
pub use edit::Edit;
pub(super) use edit::may_enable;
pub use list::{Filter, MAX_PAGE};
pub use once::Once;
pub use rotate::{DEFAULT_GRACE, MAX_GRACE, Rotate};

pub(super) use revoke::revoke_with_all;

use super::{
    Error, Service, acting,
    facts::KeyFacts,
    signed_in::{must_be_fresh, signed_in},
    view::{Issued, KeyView},
};
use crate::{
    domain::{
        account::Session,
        id::{AccountId, GrantId, KeyId, ProgramSessionId},
        key::{Environment, Key},
        registration::Registration,
        scope::{KEYS_READ, KEYS_WRITE, Scope, ScopeSet},
        secret::{ApiKey, Digest, KeyStream, Purpose},
    },
    store::{Read, rows},
    world::World,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Seconds a key may be asked to live.
pub const MIN_LIFETIME: i64 = 60;
pub const MAX_LIFETIME: i64 = 24 * 3660 * 3600;

/// Who acts on keys.
#[derive(Debug, Clone)]
pub enum Actor {
    /// A human in their browser's session, by the hash of its token: for as long as it lives.
    Owner { account: AccountId, session: Digest },
    /// A program that signed in with its human's password: as the human, but what it makes must not outreach it.
    Program { account: AccountId, session: ProgramSessionId },
    /// A key, within its scopes and lineage.
    Key(Arc<KeyFacts>),
    /// Whoever runs the deployment, on its own machine.
    Operator,
}

impl Actor {
    pub const fn owner(session: &Session) -> Self {
        Self::Owner { account: session.account, session: session.token }
    }

    /// The one account it may act on; `None`: any.
    pub(super) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Owner { account, .. } | Self::Program { account, .. } => Some(*account),
            Self::Key(key) => Some(key.account.id),
            Self::Operator => None,
        }
    }

    /// The actor as the store knows it now: between a request's start and its transaction a key may have been narrowed
    /// or revoked, and a session may have ended.
    pub(super) fn now(&self, rows: &dyn Read, now: Timestamp) -> Result<Self, Error> {
        let gone = || Error::Unauthorized { presented: true };
        let key = match self {
            Self::Operator => return Ok(self.clone()),
            Self::Owner { session, .. } => return signed_in(rows, *session, now).map(|_| self.clone()),
            Self::Program { account, session } => {
                let session = rows::program_session(rows, *session)?.filter(|session| session.is_live(now) && session.account == *account);
                acting(rows, session.ok_or_else(gone)?.account).map_err(|_| gone())?;
                return Ok(self.clone());
            }
            Self::Key(key) => key,
        };
        let row = rows::key(rows, key.id)?.filter(|key| key.is_active(now)).ok_or_else(gone)?;
        let account = acting(rows, row.account).map_err(|_| gone())?;
        Ok(Self::Key(Arc::new(key.renewed(&row, Arc::new(account.facts())))))
    }

    /// Whether it may give somebody a right at this moment: a human whose sign-in is fresh.
    pub(super) fn may_give(&self, rows: &dyn Read, now: Timestamp) -> Result<(), Error> {
        let Self::Owner { session, .. } = self else { return Ok(()) };
        let (session, account) = signed_in(rows, *session, now)?;
        must_be_fresh(&session, &account, now)
    }
}

/// A secret that was just drawn, with what the store may know of it.
struct Fresh {
    id: KeyId,
    secret: ApiKey,
    hash: Digest,
    shown: String,
}

impl Service {
    fn fresh_key(&self, environment: Environment, world: &World) -> Fresh {
        let mut stream = KeyStream::fresh(world.bytes());
        let (secret, shown) = self.config.key_format().make(environment, &mut stream);
        let hash = self.secret.hash(Purpose::ApiKey, secret.expose().as_bytes());
        Fresh { id: KeyId::new(world.now(), world.bytes()), secret, hash, shown }
    }

    /// Reads the names of scopes a key is to have: at least one, all of the catalogue.
    fn known_scopes(&self, scopes: &[String]) -> Result<ScopeSet, Error> {
        let mut known = Vec::new();
        for text in scopes {
            let scope: Scope = text.parse().map_err(|error| Error::invalid("scopes", format!("{error}")))?;
            if self.catalogue.get(&scope).is_none() {
                let known: Vec<_> = self.catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
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

    pub(super) fn view(&self, rows: &dyn Read, key: &Key, now: Timestamp) -> Result<KeyView, Error> {
        let usage = self.merged_usage(key.id, rows::usage(rows, key.id)?);
        let account = rows::account(rows, key.account)?;
        let plan = account.as_ref().map_or_else(String::new, |account| account.plan.clone());
        let approver = |id: AccountId| match &account {
            Some(account) if account.id == id => account.email.masked(),
            _ => id.to_string(),
        };
        Ok(KeyView::new(key, &usage, &plan, approver, now))
    }

    /// What create and rotate answer: a key that was just made with its secret, one that was made before without.
    async fn issued(&self, id: KeyId, secret: Option<&ApiKey>) -> Result<Issued, Error> {
        let now = self.world.now();
        self.store
            .read(|rows| {
                let key = rows::key(rows, id)?.ok_or_else(|| Error::not_found("key"))?;
                let replaced = match key.replaces {
                    Some(old) => rows::key(rows, old)?.map(|old| self.view(rows, &old, now)).transpose()?,
                    None => None,
                };
                Ok(Issued::new(secret, self.view(rows, &key, now)?, replaced))
            })
            .await
    }
}

/// How long a key may be asked to live.
fn lifetime(expires_in: Option<i64>) -> Result<Option<SignedDuration>, Error> {
    expires_in.map(|seconds| checked_lifetime("expires_in", seconds)).transpose()
}

/// The one bound on what anybody may choose, whether or not something was offered.
pub(super) fn checked_lifetime(field: &str, seconds: i64) -> Result<SignedDuration, Error> {
    if (MIN_LIFETIME..=MAX_LIFETIME).contains(&seconds) {
        return Ok(SignedDuration::from_secs(seconds));
    }
    Err(Error::invalid(field, "must be from 60 seconds to ten years"))
}

fn missing(scope: &str) -> Error {
    Error::InsufficientScope { missing: scope.parse().into_iter().collect() }
}

/// A key of the actor's account; another account's is like an unknown one.
fn key_of(rows: &dyn Read, actor: &Actor, id: KeyId) -> Result<Key, Error> {
    rows::key(rows, id)?.filter(|key| actor.account().is_none_or(|own| own == key.account)).ok_or_else(|| Error::not_found("key"))
}

/// A key sees itself, with `keys:write` its descendants, with `keys:read` all of its account.
fn sees(rows: &dyn Read, actor: &Actor, key: &Key) -> Result<bool, Error> {
    if actor.account().is_some_and(|own| own != key.account) {
        return Ok(false);
    }
    let Actor::Key(mine) = actor else { return Ok(true) };
    Ok(mine.id == key.id || mine.scopes.has(KEYS_READ) || (mine.scopes.has(KEYS_WRITE) && descends_from(rows, key, mine.id)?))
}

/// The key the actor is about to edit or rotate: a key changes what descends from it, never itself or a sibling.
fn writable(rows: &dyn Read, actor: &Actor, id: KeyId) -> Result<Key, Error> {
    let key = key_of(rows, actor, id)?;
    let Actor::Key(mine) = actor else { return Ok(key) };
    if mine.scopes.has(KEYS_WRITE) && descends_from(rows, &key, mine.id)? {
        return Ok(key);
    }
    match (sees(rows, actor, &key)?, mine.scopes.has(KEYS_WRITE)) {
        (false, _) => Err(Error::not_found("key")),
        (true, false) => Err(missing(KEYS_WRITE)),
        (true, true) => Err(Error::Forbidden { detail: "a key can change only keys it made".to_owned() }),
    }
}

fn descends_from(rows: &dyn Read, key: &Key, ancestor: KeyId) -> Result<bool, Error> {
    let mut parent = key.parent;
    while let Some(id) = parent {
        if id == ancestor {
            return Ok(true);
        }
        parent = rows::key(rows, id)?.and_then(|key| key.parent);
    }
    Ok(false)
}

/// An account's limit of active keys holds in the commit that adds one. Approvals not yet picked up count; a rotated
/// key that works on for its grace does not, as long as its successor does.
pub(super) fn room_for_one_more(rows: &dyn Read, account: AccountId, max: u32, but: Option<GrantId>, now: Timestamp) -> Result<(), Error> {
    if max == 0 {
        return Ok(());
    }
    let keys = rows::account_keys(rows, account)?;
    let successors: HashMap<KeyId, KeyId> = keys.iter().filter_map(|key| Some((key.id, key.replaced_by?))).collect();
    let active: HashSet<KeyId> = keys.iter().filter(|key| key.is_active(now)).map(|key| key.id).collect();
    let superseded =
        |key: &KeyId| std::iter::successors(successors.get(key), |next| successors.get(next)).any(|next| active.contains(next));
    let counted = active.iter().filter(|key| !superseded(key)).count();
    let mut promised = 0;
    for grant in rows::account_grants(rows, account)? {
        let open = grant.key.is_none() && grant.ended_at.is_none() && Some(grant.id) != but;
        if open && matches!(rows::registration(rows, grant.registration)?, Some(Registration::Approved { .. })) {
            promised += 1;
        }
    }
    if counted + promised >= max as usize {
        return Err(Error::Conflict { detail: format!("the account already has {max} active keys: revoke one first") });
    }
    Ok(())
}
