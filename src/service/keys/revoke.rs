//! The end of keys.

use super::{Actor, descends_from, key_of, lineage::reach, missing};
use crate::{
    domain::{
        activity::What,
        id::KeyId,
        key::{Key, Status},
        name::Name,
        operation::Outcome,
        pasted,
        scope::{KEYS_READ, KEYS_REVOKE, KEYS_WRITE},
        secret::ApiKey,
        source::Source,
    },
    service::{
        Error, Operation, Service,
        operation::Turn,
        record,
        view::{Revoked, Time},
    },
    store::{Read, Write, rows},
};
use jiff::Timestamp;

impl Service {
    /// Revokes a key, those it was rotated from and everything made by any of them, in one commit. Holds from the moment this returns. Idempotent.
    pub async fn revoke_key(&self, actor: &Actor, id: KeyId, reason: Option<String>, source: Source) -> Result<Revoked, Error> {
        self.revoke_key_once(actor, id, reason, source, Operation::default()).await
    }

    /// What an operation revoked already: asked before its credential, which may have been what it revoked.
    pub async fn revoked_by(&self, operation: Operation) -> Result<Option<Revoked>, Error> {
        Ok(match self.turn(operation).await?.done {
            Some(Outcome::Revoked { key, revoked_at, descendants }) => {
                Some(Revoked { id: key, status: Status::Revoked, revoked_at: Time(revoked_at), descendants })
            }
            _ => None,
        })
    }

    pub async fn revoke_key_once(
        &self,
        actor: &Actor,
        id: KeyId,
        reason: Option<String>,
        source: Source,
        operation: Operation,
    ) -> Result<Revoked, Error> {
        let reason = reason.map(|text| text.parse::<Name>()).transpose().map_err(|error| Error::invalid("reason", format!("{error}")))?;
        let Turn { world, note, .. } = self.turn(operation).await?;
        let (now, random, actor) = (world.now(), world.bytes(), actor.clone());
        self.store
            .write(move |rows| {
                let actor = actor.now(rows, now)?;
                let key = key_of(rows, &actor, id)?;
                may_revoke(rows, &actor, &key)?;
                let already = key.revoked.is_some();
                let descendants = revoke_with_all(rows, id, reason.clone().map(String::from), now)?;
                if !already {
                    let what = What::KeyRevoked { key: id, name: key.name, reason: reason.clone(), descendants };
                    record(rows, key.account, Some(source), what, now, random)?;
                }
                let at = rows::key(rows, id)?.and_then(|key| key.revoked).map_or(now, |revocation| revocation.at);
                note.put(rows, Outcome::Revoked { key: id, revoked_at: at, descendants })?;
                Ok::<_, Error>(Revoked { id, status: Status::Revoked, revoked_at: Time(at), descendants })
            })
            .await
    }

    /// RFC 7009: whoever holds a token may end it. Unknown ones are no error; [`Service::to_revoke`] says what is.
    pub async fn revoke_presented(&self, token: &str, source: Source) -> Result<(), Error> {
        let token = pasted::bare(token);
        if self.revoke_session_token(token, source).await? {
            return Ok(());
        }
        let Some(presented) = ApiKey::presented(token) else { return Ok(()) };
        let Some(key) = self.look_up(&presented).await? else { return Ok(()) };
        self.revoke_key(&Actor::Operator, key.id, Some("revoked by its holder".to_owned()), source).await.map(|_| ())
    }
}

/// A key may end itself, with `keys:revoke` any of its account, with `keys:write` its descendants.
fn may_revoke(rows: &dyn Read, actor: &Actor, key: &Key) -> Result<(), Error> {
    let Actor::Key(mine) = actor else { return Ok(()) };
    if mine.id == key.id || mine.scopes.has(KEYS_REVOKE) {
        return Ok(());
    }
    if mine.scopes.has(KEYS_WRITE) && descends_from(rows, key, mine.id)? {
        return Ok(());
    }
    // Without keys:read it may not even learn that the key exists.
    if mine.scopes.has(KEYS_READ) { Err(missing(KEYS_REVOKE)) } else { Err(Error::not_found("key")) }
}

/// Ends a key and all that has its rights through it ([`reach`]), with their redeliveries and grants, within the
/// caller's transaction. Returns how many others died.
pub(in crate::service) fn revoke_with_all(rows: &mut dyn Write, id: KeyId, reason: Option<String>, now: Timestamp) -> Result<u32, Error> {
    let mut died = 0;
    for next in reach(rows, id)? {
        let Some(mut key) = rows::key(rows, next)?.filter(|key| key.revoked.is_none()) else { continue };
        if let Some(registration) = key.redeliverable {
            crate::service::delivery::forget_salt(rows, registration)?;
        }
        if let Some(grant) = key.origin.grant()
            && let Some(mut grant) = rows::grant(rows, grant)?.filter(|grant| grant.key == Some(next))
        {
            grant.ended_at.get_or_insert(now);
            rows::save(rows, &grant)?;
        }
        let why = if next == id { reason.clone() } else { Some(format!("ended with {id}")) };
        key.revoke(now, why);
        rows::save(rows, &key)?;
        died += u32::from(next != id);
    }
    Ok(died)
}
