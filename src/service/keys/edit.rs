//! Changes to a key that leave its secret alone: name, scopes, whether it works.

use super::{Actor, change_descendants, room_for_one_more, writable};
use crate::{
    domain::{
        activity::What,
        id::KeyId,
        key::{Key, Status},
        name::Name,
        scope::ScopeSet,
        source::Source,
    },
    service::{Error, Service, record, view::KeyView},
    store::{Read, Write, rows},
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

impl Service {
    /// Edits a key. What is taken from it is taken from its descendants in the same commit; a key that ended stays as it was.
    pub async fn edit_key(&self, actor: &Actor, id: KeyId, edit: Edit, source: Source) -> Result<KeyView, Error> {
        let name: Option<Name> =
            edit.name.map(|name| name.parse()).transpose().map_err(|error| Error::invalid("name", format!("{error}")))?;
        let scopes = edit.scopes.map(|scopes| self.known_scopes(&scopes)).transpose()?;
        let (now, actor, disabled) = (self.world.now(), actor.clone(), edit.disabled);
        let (randoms, max_active) = ([self.world.bytes(), self.world.bytes()], self.config.keys.max_active_per_account);
        self.store
            .write(move |rows| {
                let actor = actor.now(rows, now)?;
                let mut key = writable(rows, &actor, id)?;
                let status = key.status(now);
                if matches!(status, Status::Revoked | Status::Expired) {
                    return Err(Error::Conflict { detail: format!("the key is {}: make another one", status.as_str()) });
                }
                let before = key.clone();
                key.name = name.clone().unwrap_or(key.name);
                if let Some(scopes) = &scopes {
                    may_have(rows, &actor, &key, scopes)?;
                    let owner = rows::account(rows, key.account)?.ok_or_else(|| Error::not_found("key"))?;
                    super::create::within_session(&actor, &owner, scopes)?;
                    key.scopes = scopes.clone();
                }
                let (added, removed) = (key.scopes.missing_from(&before.scopes), before.scopes.missing_from(&key.scopes));
                if !removed.is_empty() {
                    let narrow = |child: &mut Key| {
                        let kept = child.scopes.intersection(&key.scopes);
                        std::mem::replace(&mut child.scopes, kept) != child.scopes
                    };
                    change_predecessor(rows, &key, narrow)?;
                    change_descendants(rows, id, narrow)?;
                }
                let was = (key.name != before.name).then_some(before.name);
                rows::save(rows, &key)?;
                if was.is_some() || !added.is_empty() || !removed.is_empty() {
                    let what = What::KeyEdited { key: id, name: key.name.clone(), was, added, removed };
                    record(rows, key.account, Some(source), what, now, randoms[0])?;
                }
                let what = match (disabled, key.disabled_at) {
                    (Some(true), None) => {
                        disable(rows, &mut key, now)?;
                        Some(What::KeyDisabled { key: id, name: key.name.clone() })
                    }
                    (Some(false), Some(since)) => {
                        may_enable(rows, &actor, &key, now)?;
                        enable(rows, &mut key, since)?;
                        within_limit(rows, &key, max_active, now)?;
                        Some(What::KeyEnabled { key: id, name: key.name.clone() })
                    }
                    _ => None,
                };
                what.map(|what| record(rows, key.account, Some(source), what, now, randoms[1])).transpose()?;
                Ok::<_, Error>(())
            })
            .await?;
        self.get_key(&Actor::Operator, id).await
    }
}

/// A key only takes scopes away from what it edits; nobody gives a child what its parent lacks.
fn may_have(rows: &dyn Read, actor: &Actor, key: &Key, scopes: &ScopeSet) -> Result<(), Error> {
    if let Actor::Key(_) = actor
        && !scopes.is_subset(&key.scopes)
    {
        return Err(Error::Forbidden { detail: "a key can only take scopes away from the keys it made".to_owned() });
    }
    let Some(parent) = key.parent else { return Ok(()) };
    let wider = scopes.missing_from(&key.scopes).missing_from(&rows::key(rows, parent)?.map(|parent| parent.scopes).unwrap_or_default());
    if wider.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("scopes", format!("must stay within those of the key that made it: {parent} lacks {wider}")))
}

fn disable(rows: &mut dyn Write, key: &mut Key, now: Timestamp) -> Result<(), Error> {
    key.disabled_at = Some(now);
    rows::save(rows, key)?;
    let end = |child: &mut Key| child.disabled_at.is_none() && child.disabled_at.replace(now).is_none();
    change_predecessor(rows, key, end)?;
    change_descendants(rows, key.id, end)
}

/// Descendants that were disabled with the key work again with it; one that was disabled by itself stays so.
fn enable(rows: &mut dyn Write, key: &mut Key, since: Timestamp) -> Result<(), Error> {
    key.disabled_at = None;
    rows::save(rows, key)?;
    let revive = |child: &mut Key| child.disabled_at.take_if(|at| *at == since).is_some();
    change_predecessor(rows, key, revive)?;
    change_descendants(rows, key.id, revive)
}

/// With all that came back.
fn within_limit(rows: &dyn Read, key: &Key, max: u32, now: Timestamp) -> Result<(), Error> {
    let too_many = |_| Error::Conflict { detail: format!("the account would have more than {max} active keys: revoke some first") };
    if max == 0 { Ok(()) } else { room_for_one_more(rows, key.account, max + 1, None, now).map_err(too_many) }
}

/// The key that was rotated to this one and works on for its grace: what is taken from one is taken from both.
fn change_predecessor(rows: &mut dyn Write, key: &Key, change: impl Fn(&mut Key) -> bool) -> Result<(), Error> {
    if let Some(mut old) = key.replaces.map(|id| rows::key(rows, id)).transpose()?.flatten()
        && change(&mut old)
    {
        rows::save(rows, &old)?;
    }
    Ok(())
}

pub(in crate::service) fn may_enable(rows: &dyn Read, actor: &Actor, key: &Key, now: Timestamp) -> Result<(), Error> {
    if let Actor::Key(_) = actor {
        return Err(Error::Forbidden { detail: "only a human enables a key again".to_owned() });
    }
    match key.parent.map(|parent| rows::key(rows, parent)).transpose()?.flatten() {
        Some(parent) if !parent.is_active(now) => Err(Error::Conflict {
            detail: format!("the key that made it, {}, is {}: let that one work first", parent.id, parent.status(now).as_str()),
        }),
        _ => Ok(()),
    }
}
