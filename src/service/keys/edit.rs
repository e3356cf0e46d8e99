//! Changes to a key that leave its secret alone: name, scopes, whether it works.

use crate::{
    api::{error::Error, keys::KeyView},
    domain::{
        activity::EventKind,
        id::KeyId,
        key::{Key, Status},
        name::Name,
        scope::ScopeSet,
        source::Source,
    },
    service::{
        caller::Actor,
        keys::{
            access::{may_enable, writable},
            create::within_session,
            lineage::change_reach,
            quota::check_key_quota,
            state::Keys,
        },
        record_event::record,
    },
    store::access::Read,
};
use jiff::Timestamp;

/// What to change; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    pub name: Option<String>,
    /// All it may do from now on. A human may name any of the catalogue, a key only take away.
    pub scopes: Option<Vec<String>>,
    /// `true`: off, with everything made by it, until a human enables it again.
    pub disabled: Option<bool>,
}

impl Keys {
    /// Edits a key. What is taken from it is taken from all that has it through this key, in the same commit; a key that
    /// ended stays as it was.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: a name or scopes that can't be, or scopes that the key's parent lacks.
    /// * As for [`writable`]; and [`Error::Forbidden`] when the actor may not give what it adds.
    /// * [`Error::PasswordNeeded`], [`Error::SignInNeeded`], [`Error::Unauthorized`]: the actor's sign-in is not fresh and
    ///   something is added, or what it came with works no more.
    /// * [`Error::Conflict`]: the key has ended, was rotated and would gain, or can't be enabled now.
    pub async fn edit_key(&self, actor: &Actor, id: KeyId, edit: Edit, source: Source) -> Result<KeyView, Error> {
        let name: Option<Name> =
            edit.name.map(|name| name.parse()).transpose().map_err(|error| Error::invalid("name", format!("{error}")))?;
        let scopes = edit.scopes.map(|scopes| self.known_scopes(&scopes)).transpose()?;
        let (now, actor, disabled) = (self.context.runtime.now(), actor.clone(), edit.disabled);
        let (randoms, max_active) =
            ([self.context.runtime.bytes(), self.context.runtime.bytes()], self.context.config.keys.max_active_per_account);
        self.context
            .store
            .write(move |tx| {
                let actor = actor.now(tx, now)?;
                let mut key = writable(tx, &actor, id)?;
                let status = key.status(now);
                if matches!(status, Status::Revoked | Status::Expired) {
                    return Err(Error::Conflict { detail: format!("the key is {}: make another one", status.as_str()) });
                }
                let before = key.clone();
                key.name = name.clone().unwrap_or(key.name);
                if let Some(scopes) = &scopes {
                    may_have(tx, &actor, &key, scopes)?;
                    let owner = tx.accounts().get(key.account)?.ok_or_else(|| Error::not_found("key"))?;
                    within_session(&actor, &owner, scopes)?;
                    key.scopes = scopes.clone();
                }
                let (added, removed) = (key.scopes.missing_from(&before.scopes), before.scopes.missing_from(&key.scopes));
                if !added.is_empty() {
                    actor.may_give(tx, now)?;
                }
                let was = (key.name != before.name).then_some(before.name);
                tx.save(&key)?;
                if !removed.is_empty() {
                    change_reach(tx, id, |other| {
                        let kept = other.scopes.intersection(&key.scopes);
                        std::mem::replace(&mut other.scopes, kept) != other.scopes
                    })?;
                }
                if was.is_some() || !added.is_empty() || !removed.is_empty() {
                    let what = EventKind::KeyEdited { key: id, name: key.name.clone(), was, added, removed };
                    record(tx, key.account, Some(source), what, now, randoms[0])?;
                }
                let what = match disabled {
                    Some(true) => {
                        let suspended = key.disabled_at.is_some();
                        change_reach(tx, id, |other| suspend(other, &key, now))?;
                        (!suspended).then(|| EventKind::KeyDisabled { key: id, name: key.name.clone() })
                    }
                    Some(false) if key.disabled_at.is_some() => {
                        may_enable(tx, &actor, &key, now)?;
                        change_reach(tx, id, |other| resume(other, &key))?;
                        within_limit(tx, &key, max_active, now)?;
                        Some(EventKind::KeyEnabled { key: id, name: key.name.clone() })
                    }
                    _ => None,
                };
                what.map(|what| record(tx, key.account, Some(source), what, now, randoms[1])).transpose()?;
                Ok::<_, Error>(())
            })
            .await?;
        self.get_key(&Actor::Operator, id).await
    }
}

/// A key only takes scopes away from what it edits; nobody gives a child what its parent lacks.
fn may_have(tx: &dyn Read, actor: &Actor, key: &Key, scopes: &ScopeSet) -> Result<(), Error> {
    if let Actor::Key(_) = actor
        && !scopes.is_subset(&key.scopes)
    {
        return Err(Error::Forbidden { detail: "a key can only take scopes away from the keys it made".to_owned() });
    }
    let added = scopes.missing_from(&key.scopes);
    if let (Some(successor), false) = (key.replaced_by, added.is_empty()) {
        return Err(Error::Conflict {
            detail: format!("the key was rotated and only loses from now on: give {added} to its successor {successor}"),
        });
    }
    let Some(parent) = key.parent else { return Ok(()) };
    let wider = added.missing_from(&tx.keys().get(parent)?.map(|parent| parent.scopes).unwrap_or_default());
    if wider.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("scopes", format!("must stay within those of the key that made it: {parent} lacks {wider}")))
}

fn suspend(other: &mut Key, with: &Key, now: Timestamp) -> bool {
    let before = (other.disabled_at, other.disabled_with);
    other.suspend(with, now);
    before != (other.disabled_at, other.disabled_with)
}

/// What was disabled with the key works again with it; one that was disabled by itself stays so.
fn resume(other: &mut Key, with: &Key) -> bool {
    let resumes = other.id == with.id || other.is_suspended_as(with);
    if resumes {
        other.resume();
    }
    resumes
}

/// With all that came back.
fn within_limit(tx: &dyn Read, key: &Key, max: u32, now: Timestamp) -> Result<(), Error> {
    let too_many = |_| Error::Conflict { detail: format!("the account would have more than {max} active keys: revoke some first") };
    if max == 0 { Ok(()) } else { check_key_quota(tx, key.account, max + 1, None, now).map_err(too_many) }
}
