//! Who may see and change which key.

use crate::{
    api::error::Error,
    domain::{
        id::KeyId,
        key::Key,
        scope::{KEYS_READ, KEYS_REVOKE, KEYS_WRITE},
    },
    service::{
        caller::Actor,
        keys::lineage::{descends_from, successors},
    },
    store::access::Read,
};
use jiff::Timestamp;

/// Whether the actor may end a key's suspension.
///
/// # Errors
/// * [`Error::Forbidden`]: a key asks.
/// * As for any right that is given: the sign-in is not fresh.
/// * [`Error::Conflict`]: its parent, or the key that took its place, does not work.
pub fn may_enable(tx: &dyn Read, actor: &Actor, key: &Key, now: Timestamp) -> Result<(), Error> {
    if let Actor::Key(_) = actor {
        return Err(Error::Forbidden { detail: "only a human enables a key again".to_owned() });
    }
    if let Some(next) = successors(tx, key)?.pop().filter(|next| !next.is_active(now)) {
        return Err(Error::Conflict {
            detail: format!("the key that took its place, {}, is {}: let that one work first", next.id, next.status(now).as_str()),
        });
    }
    actor.may_give(tx, now)?;
    match key.parent.map(|parent| tx.keys().get(parent)).transpose()?.flatten() {
        Some(parent) if !parent.is_active(now) => Err(Error::Conflict {
            detail: format!("the key that made it, {}, is {}: let that one work first", parent.id, parent.status(now).as_str()),
        }),
        _ => Ok(()),
    }
}

/// The error for a caller that lacks one scope.
pub fn missing(scope: &str) -> Error {
    Error::InsufficientScope { missing: scope.parse().into_iter().collect() }
}

/// A key of the actor's account; another account's is like an unknown one.
///
/// # Errors
/// [`Error::NotFound`], whichever it is.
pub fn key_of(tx: &dyn Read, actor: &Actor, id: KeyId) -> Result<Key, Error> {
    tx.keys().get(id)?.filter(|key| actor.account().is_none_or(|own| own == key.account)).ok_or_else(|| Error::not_found("key"))
}

/// A key sees itself, with `keys:write` its descendants, with `keys:read` all of its account.
pub fn sees(tx: &dyn Read, actor: &Actor, key: &Key) -> Result<bool, Error> {
    if actor.account().is_some_and(|own| own != key.account) {
        return Ok(false);
    }
    let Actor::Key(mine) = actor else { return Ok(true) };
    Ok(mine.id == key.id || mine.scopes.has(KEYS_READ) || (mine.scopes.has(KEYS_WRITE) && descends_from(tx, key, mine.id)?))
}

/// The key the actor is about to edit or rotate: a key changes what descends from it, never itself or a sibling.
///
/// # Errors
/// * [`Error::NotFound`]: there is none that the actor may see.
/// * [`Error::InsufficientScope`]: a key asks that lacks `keys:write`.
/// * [`Error::Forbidden`]: a key asks about one it did not make.
pub fn writable(tx: &dyn Read, actor: &Actor, id: KeyId) -> Result<Key, Error> {
    let key = key_of(tx, actor, id)?;
    let Actor::Key(mine) = actor else { return Ok(key) };
    if mine.scopes.has(KEYS_WRITE) && descends_from(tx, &key, mine.id)? {
        return Ok(key);
    }
    match (sees(tx, actor, &key)?, mine.scopes.has(KEYS_WRITE)) {
        (false, _) => Err(Error::not_found("key")),
        (true, false) => Err(missing(KEYS_WRITE)),
        (true, true) => Err(Error::Forbidden { detail: "a key can change only keys it made".to_owned() }),
    }
}

/// A key may end itself, with `keys:revoke` any of its account, with `keys:write` its descendants.
///
/// # Errors
/// [`Error::InsufficientScope`] for a key that may at least see it, [`Error::NotFound`] for others.
pub fn may_revoke(tx: &dyn Read, actor: &Actor, key: &Key) -> Result<(), Error> {
    let Actor::Key(mine) = actor else { return Ok(()) };
    if mine.id == key.id || mine.scopes.has(KEYS_REVOKE) {
        return Ok(());
    }
    if mine.scopes.has(KEYS_WRITE) && descends_from(tx, key, mine.id)? {
        return Ok(());
    }
    // Without keys:read it may not even learn that the key exists.
    if mine.scopes.has(KEYS_READ) { Err(missing(KEYS_REVOKE)) } else { Err(Error::not_found("key")) }
}
