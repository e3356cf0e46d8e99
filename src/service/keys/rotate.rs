//! Rotation: a new secret for the same key, and the old one works on for a grace period.
//!
//! The new key is a row of its own with name, scopes, environment, limit, parent and origin of the old one; it shares
//! its allowance, so that rotating gives nobody fresh quota. What the old key made now descends from the new one: it
//! goes on working after the old one's end and dies with the new one. Of one chain at most two keys work at a time,
//! and they count as one towards the account's limit. In its grace the old key loses what the new one loses and makes
//! nothing; a rotation without grace leaves nothing of the chain but the new key.

use crate::{
    api::{error::Error, keys::Issued},
    domain::{
        activity::EventKind,
        id::KeyId,
        idempotency::Outcome,
        key::{Key, Status},
        source::Source,
        time::after,
    },
    service::{
        active_account::active_account,
        caller::Actor,
        idempotency::{CallName, Once, Turn},
        keys::{
            access::writable,
            issue::lifetime,
            lineage::{change_reach, may_make, predecessors, revoke_with_all},
            state::Keys,
        },
        record_event::record,
        redelivery::end_redelivery_of_registration,
    },
    store::access::{Read, Write},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// The old key's grace unless one is named: a day, in which a deployment can be rolled out.
pub const DEFAULT_GRACE: SignedDuration = SignedDuration::from_hours(24);

/// A key that is on its way out must not stay for good.
pub const MAX_GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How to rotate.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rotate {
    /// How long the old key works on, 0 to 7 days, never past its own end; 0: it is dead before the reply. `None`: a day.
    pub grace_seconds: Option<i64>,
    /// How long the new key lives; `None`: as long as the old one was made for.
    pub expires_in: Option<i64>,
}

impl Keys {
    /// Rotates a key. The new secret is in the reply and nowhere else.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: grace or lifetime.
    /// * As for [`writable`].
    /// * [`Error::Conflict`]: the key has ended or was rotated, or one it replaced still works.
    /// * [`Error::Forbidden`]: the new key would outlive the one that made it, or a key asks that was rotated itself.
    /// * [`Error::PasswordNeeded`], [`Error::SignInNeeded`], [`Error::Unauthorized`]: the actor's sign-in is not fresh, or what
    ///   it came with works no more.
    /// * [`Error::IdempotencyKeyReused`]: the name stands for another request.
    pub async fn rotate_key(&self, actor: &Actor, id: KeyId, rotate: Rotate, source: Source, once: Option<&Once>) -> Result<Issued, Error> {
        self.rotate_key_as(actor, id, rotate, source, once.into()).await
    }

    /// The same by whatever name: an operation sent again is answered with the secret again.
    ///
    /// # Errors
    /// As [`Self::rotate_key`].
    pub async fn rotate_key_as(
        &self,
        actor: &Actor,
        id: KeyId,
        rotate: Rotate,
        source: Source,
        name: CallName<'_>,
    ) -> Result<Issued, Error> {
        let grace = match rotate.grace_seconds.map(SignedDuration::from_secs) {
            None => DEFAULT_GRACE,
            Some(grace) if (SignedDuration::ZERO..=MAX_GRACE).contains(&grace) => grace,
            Some(_) => return Err(Error::invalid("grace_seconds", format!("must be from 0 to {}", MAX_GRACE.as_secs()))),
        };
        let asked = lifetime(rotate.expires_in)?;
        let Turn { runtime, note, .. } = self.context.begin_named(name, &format!("rotate {id}"), &rotate).await?;
        let (now, random, actor) = (runtime.now(), runtime.bytes(), actor.clone());
        // Outside the transaction, where the randomness is; an environment never changes.
        let environment = self.context.store.read(|tx| writable(tx, &actor, id)).await?.environment;
        let (fresh, secret_id) = (self.fresh_key(environment, &runtime), self.context.secret.id());
        let (new_id, hash, shown) = (fresh.id, fresh.hash, fresh.shown);
        let made = self
            .context
            .store
            .write(move |tx| {
                let actor = actor.now(tx, now)?;
                let mut old = writable(tx, &actor, id)?;
                if let Some(made) = note.made(tx, new_id)? {
                    return Ok(made);
                }
                may_make(tx, &actor)?;
                actor.may_give(tx, now)?;
                active_account(tx, old.account).map_err(|_| Error::not_found("key"))?;
                may_rotate(tx, &old, grace, now)?;
                let new = Key {
                    id: new_id,
                    hash,
                    secret: secret_id.clone(),
                    shown: shown.clone(),
                    created_at: now,
                    expires_at: end(tx, &old, asked, now)?,
                    root: old.root.or(Some(old.id)),
                    replaces: Some(id),
                    redeliverable: None,
                    ..old.clone()
                };
                tx.save(&new)?;
                adopt(tx, &old, &new)?;
                if grace.is_zero() {
                    // An emergency: nothing of the chain works on but the new key, and with it what the old one had made.
                    for before in predecessors(tx, &old)? {
                        revoke_with_all(tx, before.id, Some(format!("rotated to {new_id}")), now)?;
                    }
                }
                if let Some(registration) = old.redeliverable {
                    end_redelivery_of_registration(tx, registration)?;
                }
                old.retire(new_id, grace, now);
                // Nothing that was replaced outlives what replaced it.
                old.expires_at = [old.expires_at, new.expires_at].into_iter().flatten().min();
                tx.save(&old)?;
                let until = old.expires_at.filter(|_| old.revoked.is_none());
                let what = EventKind::KeyRotated { key: id, name: old.name, to: new_id, until };
                record(tx, old.account, Some(source), what, now, random)?;
                note.put(tx, Outcome::Key { key: new_id })?;
                Ok::<_, Error>(new_id)
            })
            .await?;
        self.issued(made, (made == new_id).then_some(&fresh.secret)).await
    }
}

fn may_rotate(tx: &dyn Read, old: &Key, grace: SignedDuration, now: Timestamp) -> Result<(), Error> {
    let refuse = |detail: String| Err(Error::Conflict { detail });
    if let Some(successor) = old.replaced_by {
        return refuse(format!("the key was rotated already: rotate its successor {successor}"));
    }
    if old.status(now) != Status::Active {
        return refuse(format!("the key is {}", old.status(now).as_str()));
    }
    // In an emergency (no grace) nothing stands in the way: all before the new one die at once.
    let may_work = |before: &Key| matches!(before.status(now), Status::Active | Status::Disabled);
    match predecessors(tx, old)?.into_iter().find(may_work) {
        Some(before) if !grace.is_zero() => {
            let status = before.status(now).as_str();
            refuse(format!("{}, which it replaced, is {status}: revoke that one first, or rotate without grace", before.id))
        }
        _ => Ok(()),
    }
}

/// When the new key ends: it lives as long as the old one was made for, and never longer than its parent.
fn end(tx: &dyn Read, old: &Key, asked: Option<SignedDuration>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let most = match old.parent {
        Some(parent) => tx.keys().get(parent)?.and_then(|parent| parent.expires_at),
        None => None,
    };
    let renewed = old.expires_at.map(|at| at.duration_since(old.created_at));
    match (asked.or(renewed).map(|lifetime| after(now, lifetime)), most) {
        (Some(end), Some(most)) if end > most && asked.is_some() => {
            Err(Error::Forbidden { detail: "the key would outlive the one that made it".to_owned() })
        }
        (Some(end), Some(most)) => Ok(Some(end.min(most))),
        (end, most) => Ok(end.or(most)),
    }
}

/// What the old key had made, and the grant it came from, are the new one's. Nothing that has its rights through the
/// new key outlives it.
fn adopt(tx: &mut dyn Write, old: &Key, new: &Key) -> Result<(), Error> {
    for mut child in tx.keys().children(old.id)? {
        child.parent = Some(new.id);
        tx.save(&child)?;
    }
    if let Some(most) = new.expires_at {
        change_reach(tx, new.id, |other| {
            let shorter = other.expires_at.is_none_or(|at| at > most);
            if shorter {
                other.expires_at = Some(most);
            }
            shorter
        })?;
    }
    if let Some(grant) = old.origin.grant()
        && let Some(mut grant) = tx.grants().get(grant)?.filter(|grant| grant.key == Some(old.id))
    {
        grant.key = Some(new.id);
        tx.save(&grant)?;
    }
    Ok(())
}
