//! The end of keys.

use crate::{
    api::{error::Error, keys::Revoked, values::Time},
    domain::{activity::EventKind, id::KeyId, idempotency::Outcome, key::Status, name::Name, pasted, secret::ApiKey, source::Source},
    service::{
        caller::Actor,
        idempotency::{Operation, Turn},
        keys::state::Keys,
        keys::{
            access::{key_of, may_revoke},
            lineage::revoke_with_all,
        },
        record_event::record,
    },
};

impl Keys {
    /// Revokes a key, those it was rotated from and everything made by any of them, in one commit. Holds from the moment this returns. Idempotent.
    ///
    /// # Errors
    /// [`Error::Invalid`]: a reason that can't be shown. As for [`may_revoke`].
    pub async fn revoke_key(&self, actor: &Actor, id: KeyId, reason: Option<String>, source: Source) -> Result<Revoked, Error> {
        self.revoke_key_once(actor, id, reason, source, Operation::default()).await
    }

    /// What an operation revoked already: asked before its credential, which may have been what it revoked.
    pub async fn revoked_by(&self, operation: Operation) -> Result<Option<Revoked>, Error> {
        Ok(match self.context.begin(operation).await?.done {
            Some(Outcome::Revoked { key, revoked_at, descendants }) => {
                Some(Revoked { id: key, status: Status::Revoked, revoked_at: Time(revoked_at), descendants })
            }
            _ => None,
        })
    }

    /// The same, for a call that may be sent twice.
    ///
    /// # Errors
    /// As [`Self::revoke_key`].
    pub async fn revoke_key_once(
        &self,
        actor: &Actor,
        id: KeyId,
        reason: Option<String>,
        source: Source,
        operation: Operation,
    ) -> Result<Revoked, Error> {
        let reason = reason.map(|text| text.parse::<Name>()).transpose().map_err(|error| Error::invalid("reason", format!("{error}")))?;
        let Turn { runtime, note, .. } = self.context.begin(operation).await?;
        let (now, random, actor) = (runtime.now(), runtime.bytes(), actor.clone());
        self.context
            .store
            .write(move |tx| {
                let actor = actor.now(tx, now)?;
                let key = key_of(tx, &actor, id)?;
                may_revoke(tx, &actor, &key)?;
                let already = key.revoked.is_some();
                let descendants = revoke_with_all(tx, id, reason.clone().map(String::from), now)?;
                if !already {
                    let what = EventKind::KeyRevoked { key: id, name: key.name, reason: reason.clone(), descendants };
                    record(tx, key.account, Some(source), what, now, random)?;
                }
                let at = tx.keys().get(id)?.and_then(|key| key.revoked).map_or(now, |revocation| revocation.at);
                note.put(tx, Outcome::Revoked { key: id, revoked_at: at, descendants })?;
                Ok::<_, Error>(Revoked { id, status: Status::Revoked, revoked_at: Time(at), descendants })
            })
            .await
    }

    /// RFC 7009: whoever holds a token may end it. Unknown ones are no error; [`Keys::to_revoke`] says what is.
    pub async fn revoke_presented(&self, token: &str, source: Source) -> Result<(), Error> {
        let token = pasted::bare(token);
        if self.accounts.revoke_session_token(token, source).await? {
            return Ok(());
        }
        let Some(presented) = ApiKey::presented(token) else { return Ok(()) };
        let Some(key) = self.verifier.look_up(&presented).await? else { return Ok(()) };
        self.revoke_key(&Actor::Operator, key.id, Some("revoked by its holder".to_owned()), source).await.map(|_| ())
    }
}
