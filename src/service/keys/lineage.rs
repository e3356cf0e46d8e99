//! Which keys a change reaches.
//!
//! What is taken from a key is taken from all that has its rights through it: the keys it was rotated from, which may
//! work on for a grace, and everything any of them has made. There is one walk, and whatever takes something goes it.

use crate::{
    api::error::Error,
    domain::{id::KeyId, key::Key},
    service::{caller::Actor, redelivery::end_redelivery_of_registration},
    store::access::{Read, Write},
};
use jiff::Timestamp;
use std::collections::HashSet;

/// The key itself, the keys before it, however long ago it was rotated from them, and all their descendants: each
/// once, the key first, whatever state they are in.
pub(in crate::service) fn reach(tx: &dyn Read, of: KeyId) -> Result<Vec<KeyId>, Error> {
    let (mut waiting, mut seen, mut reached) = (vec![of], HashSet::new(), Vec::new());
    while let Some(next) = waiting.pop() {
        if !seen.insert(next) {
            continue;
        }
        let Some(key) = tx.keys().get(next)? else { continue };
        waiting.extend(key.replaces);
        waiting.extend(tx.keys().children(next)?.into_iter().map(|child| child.id));
        reached.push(next);
    }
    Ok(reached)
}

/// Changes every key the walk from `of` reaches, itself too. `change` says whether it changed something.
pub fn change_reach(tx: &mut dyn Write, of: KeyId, change: impl Fn(&mut Key) -> bool) -> Result<(), Error> {
    for id in reach(tx, of)? {
        if let Some(mut key) = tx.keys().get(id)?
            && change(&mut key)
        {
            tx.save(&key)?;
        }
    }
    Ok(())
}

/// The keys a key was rotated from, latest first.
pub fn predecessors(tx: &dyn Read, key: &Key) -> Result<Vec<Key>, Error> {
    chain(tx, key, |key| key.replaces)
}

/// The keys a key was rotated to, earliest first.
pub fn successors(tx: &dyn Read, key: &Key) -> Result<Vec<Key>, Error> {
    chain(tx, key, |key| key.replaced_by)
}

fn chain(tx: &dyn Read, key: &Key, next: impl Fn(&Key) -> Option<KeyId>) -> Result<Vec<Key>, Error> {
    let (mut at, mut chain) = (next(key), Vec::new());
    while let Some(key) = at.map(|id| tx.keys().get(id)).transpose()?.flatten() {
        at = next(&key);
        chain.push(key);
    }
    Ok(chain)
}

/// A key that was rotated works on so that nothing is cut off, not to leave more behind than it was.
///
/// # Errors
/// [`Error::Forbidden`], naming the successor.
pub fn may_make(tx: &dyn Read, actor: &Actor) -> Result<(), Error> {
    let Actor::Key(key) = actor else { return Ok(()) };
    match tx.keys().get(key.id)?.and_then(|key| key.replaced_by) {
        Some(successor) => Err(Error::Forbidden {
            detail: format!("the key was rotated and makes no keys any more: use its successor {successor} for that"),
        }),
        None => Ok(()),
    }
}

/// Whether a key was made by another one, or by a key made by it, and so on.
pub fn descends_from(tx: &dyn Read, key: &Key, ancestor: KeyId) -> Result<bool, Error> {
    let mut parent = key.parent;
    while let Some(id) = parent {
        if id == ancestor {
            return Ok(true);
        }
        parent = tx.keys().get(id)?.and_then(|key| key.parent);
    }
    Ok(false)
}

/// Ends a key and all that has its rights through it ([`reach`]), with their redeliveries and grants, within the
/// caller's transaction. Returns how many others died.
pub fn revoke_with_all(tx: &mut dyn Write, id: KeyId, reason: Option<String>, now: Timestamp) -> Result<u32, Error> {
    let mut died = 0;
    for next in reach(tx, id)? {
        let Some(mut key) = tx.keys().get(next)?.filter(|key| key.revoked.is_none()) else { continue };
        if let Some(registration) = key.redeliverable {
            end_redelivery_of_registration(tx, registration)?;
        }
        if let Some(grant) = key.origin.grant()
            && let Some(mut grant) = tx.grants().get(grant)?.filter(|grant| grant.key == Some(next))
        {
            grant.ended_at.get_or_insert(now);
            tx.save(&grant)?;
        }
        let why = if next == id { reason.clone() } else { Some(format!("ended with {id}")) };
        key.revoke(now, why);
        tx.save(&key)?;
        died += u32::from(next != id);
    }
    Ok(died)
}
