//! What owners, operators and keys themselves do with keys: create, list, revoke.

use super::{
    Error, Operation, Service, acting,
    operation::Turn,
    record,
    verify::{Caller, Who},
    view::{Created, KeyList, KeyView, Revealed, Revoked, Time, Whoami},
};
use crate::{
    domain::{
        activity::What,
        id::{AccountId, GrantId, KeyId},
        key::{Environment, Key, KeyFacts, Origin, Status},
        name::Name,
        operation::Outcome,
        registration::Registration,
        scope::{KEYS_READ, KEYS_REVOKE, KEYS_WRITE, Scope, ScopeSet},
        secret::{ApiKey, KeyStream, Purpose},
        source::Source,
    },
    store::{Order, Read, Table, Write, rows},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Who acts on keys.
#[derive(Debug, Clone)]
pub enum Actor {
    /// A human in their browser's session.
    Owner(AccountId),
    /// A key, within its scopes and lineage.
    Key(Arc<KeyFacts>),
    /// Whoever runs the deployment, on its own machine.
    Operator,
}

impl Actor {
    /// The one account it may act on; `None`: any.
    fn account(&self) -> Option<AccountId> {
        match self {
            Self::Owner(account) => Some(*account),
            Self::Key(key) => Some(key.account.id),
            Self::Operator => None,
        }
    }
}

/// What a new key should be.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    pub name: String,
    pub scopes: Vec<String>,
    pub environment: Option<Environment>,
    /// Seconds; `None`: until revoked, or as long as its parent.
    pub expires_in: Option<i64>,
}

/// Which keys to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub status: Option<Status>,
    pub environment: Option<Environment>,
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

pub const MAX_PAGE: usize = 100;
const DEFAULT_PAGE: usize = 20;
/// Rows looked at per request when a filter leaves most out.
const SCAN: usize = 500;

impl Service {
    /// Creates a key. The secret is in the reply and nowhere else.
    pub async fn create_key(&self, actor: Actor, account: AccountId, new: NewKey, source: Source) -> Result<Created, Error> {
        self.create_key_once(actor, account, new, source, Operation::default()).await
    }

    pub async fn create_key_once(
        &self,
        actor: Actor,
        account: AccountId,
        new: NewKey,
        source: Source,
        operation: Operation,
    ) -> Result<Created, Error> {
        if actor.account().is_some_and(|own| own != account) {
            return Err(Error::not_found("account"));
        }
        let name: Name = new.name.parse().map_err(|error| Error::invalid("name", format!("{error}")))?;
        let scopes = self.known_scopes(&new.scopes)?;
        let Turn { world, note, done } = self.turn(operation).await?;
        let now = world.now();
        let mut expires_at = match new.expires_in {
            None => None,
            Some(seconds) if (60..=SignedDuration::from_hours(24 * 3660).as_secs()).contains(&seconds) => {
                Some(now + SignedDuration::from_secs(seconds))
            }
            Some(_) => return Err(Error::invalid("expires_in", "must be from 60 seconds to ten years")),
        };
        let mut environment = new.environment.unwrap_or(self.config.environment);
        let (parent, origin) = match &actor {
            Actor::Owner(_) | Actor::Operator => (None, Origin::Human),
            Actor::Key(key) => {
                if !key.scopes.has(KEYS_WRITE) {
                    return Err(missing(KEYS_WRITE));
                }
                // A child is never wider than its parent.
                let wider = scopes.missing_from(&key.scopes);
                if !wider.is_empty() {
                    return Err(Error::InsufficientScope { missing: wider });
                }
                if new.environment.is_some_and(|e| e != key.environment) {
                    return Err(Error::Forbidden { detail: format!("a {} key can't make keys of another environment", key.environment) });
                }
                if let (Some(mine), Some(asked)) = (key.expires_at, expires_at)
                    && asked > mine
                {
                    return Err(Error::Forbidden { detail: "a key can't make one that outlives it".to_owned() });
                }
                environment = key.environment;
                expires_at = expires_at.or(key.expires_at);
                (Some(key.id), Origin::Key)
            }
        };
        let mut stream = KeyStream::fresh(world.bytes());
        let (secret, shown) = self.config.key_format().make(environment, &mut stream);
        let key = Key {
            id: KeyId::new(now, world.bytes()),
            account,
            name,
            hash: self.secret.hash(Purpose::ApiKey, secret.expose().as_bytes()),
            secret: self.secret_id.clone(),
            shown,
            environment,
            scopes,
            created_at: now,
            expires_at,
            revoked: None,
            disabled_at: None,
            parent,
            root: match &actor {
                Actor::Key(parent) => Some(parent.root),
                Actor::Owner(_) | Actor::Operator => None,
            },
            origin,
            requests_per_minute: None,
            replaces: None,
            replaced_by: None,
            redeliverable: None,
        };
        let (max_active, random) = (self.config.keys.max_active_per_account, world.bytes());
        let row = key.clone();
        let plan = self
            .store
            .write(move |rows| {
                let owner = acting(rows, row.account).map_err(|_| Error::not_found("account"))?;
                if done.is_some() {
                    return Ok(owner.plan);
                }
                room_for_one_more(rows, row.account, max_active, None, now)?;
                if let Some(parent) = row.parent
                    && !rows::key(rows, parent)?.is_some_and(|parent| parent.is_active(now))
                {
                    return Err(Error::Unauthorized { presented: true });
                }
                rows::save(rows, &row)?;
                record(rows, row.account, Some(source), What::KeyCreated { key: row.id, name: row.name.clone() }, now, random)?;
                note.put(rows, Outcome::Drawn)?;
                Ok::<_, Error>(owner.plan)
            })
            .await?;
        let view = KeyView::new(&key, &Default::default(), &plan, |_| String::new(), now);
        Ok(Created { key: Revealed::new(secret.expose()), view })
    }

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

    /// A page of keys, newest first. A key without `keys:read` sees itself and its descendants.
    pub async fn list_keys(&self, actor: &Actor, account: Option<AccountId>, filter: &Filter) -> Result<KeyList, Error> {
        let limit = filter.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {MAX_PAGE}")));
        }
        let cursor = match &filter.cursor {
            Some(text) => Some(text.parse::<KeyId>().map_err(|_| Error::invalid("cursor", "is not one this server gave"))?),
            None => None,
        };
        let now = self.world.now();
        // Whatever a transport names: only the operator sees other accounts, or all of them.
        let account = actor.account().or(account);
        let fits = |key: &Key| {
            filter.status.is_none_or(|status| status == key.status(now))
                && filter.environment.is_none_or(|environment| environment == key.environment)
        };
        self.store
            .read(|rows| {
                let (index, prefix) = match account {
                    Some(account) => (Table::AccountKeys, rows::entry(&[&account.to_string(), ""])),
                    None => (Table::Keys, Vec::new()),
                };
                let mut after = cursor.map(|id| [prefix.clone(), id.to_string().into_bytes()].concat());
                let (mut keys, mut looked_at) = (Vec::new(), 0);
                let next_cursor = 'pages: loop {
                    let page = rows.scan(index, &prefix, after.as_deref(), Order::Descending, 100)?;
                    let last_page = page.len() < 100;
                    for (entry, _) in page {
                        let id = String::from_utf8_lossy(&entry[prefix.len()..]).into_owned();
                        let Some(key) = rows::load::<Key>(rows, &id)? else { continue };
                        looked_at += 1;
                        if fits(&key) && sees(rows, actor, &key)? {
                            if keys.len() == limit {
                                // Another one exists: the page ends before it.
                                break 'pages keys.last().map(|last: &KeyView| last.id.to_string());
                            }
                            keys.push(self.view(rows, &key, now)?);
                        }
                        after = Some(entry);
                    }
                    if last_page {
                        break None;
                    }
                    if looked_at >= SCAN {
                        break after.as_ref().map(|entry| String::from_utf8_lossy(&entry[prefix.len()..]).into_owned());
                    }
                };
                Ok::<_, Error>(KeyList { keys, next_cursor })
            })
            .await
    }

    fn view(&self, rows: &dyn Read, key: &Key, now: Timestamp) -> Result<KeyView, Error> {
        let usage = self.usage.merged(key.id, rows::usage(rows, key.id)?);
        let account = rows::account(rows, key.account)?;
        let plan = account.as_ref().map_or_else(String::new, |account| account.plan.clone());
        let approver = |id: AccountId| match &account {
            Some(account) if account.id == id => account.email.masked(),
            _ => id.to_string(),
        };
        Ok(KeyView::new(key, &usage, &plan, approver, now))
    }

    /// One key of the account, or 404 as for unknown ones.
    pub async fn get_key(&self, actor: &Actor, id: KeyId) -> Result<KeyView, Error> {
        let now = self.world.now();
        self.store
            .read(|rows| {
                let key = rows::key(rows, id)?.ok_or_else(|| Error::not_found("key"))?;
                if !sees(rows, actor, &key)? {
                    return Err(Error::not_found("key"));
                }
                self.view(rows, &key, now)
            })
            .await
    }

    pub async fn whoami(&self, caller: &Caller) -> Result<Whoami, Error> {
        let (now, id) = (self.world.now(), caller.account.id);
        self.store
            .read(|rows| {
                let account = rows::account(rows, id)?.ok_or(Error::Unauthorized { presented: true })?;
                let key = match &caller.who {
                    Who::Key(key) => {
                        let key = rows::key(rows, key.id)?.ok_or(Error::Unauthorized { presented: true })?;
                        Some(self.view(rows, &key, now)?)
                    }
                    Who::Session(_) => None,
                };
                Ok::<_, Error>(Whoami {
                    account_id: account.id,
                    email: account.email.to_string(),
                    operator: account.operator,
                    plan: account.plan,
                    key,
                })
            })
            .await
    }

    /// Revokes a key and everything made by it, in one commit. Holds from the moment this returns. Idempotent.
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
        let reason = reason
            .map(|text| text.parse::<Name>().map(String::from))
            .transpose()
            .map_err(|error| Error::invalid("reason", format!("{error}")))?;
        let Turn { world, note, .. } = self.turn(operation).await?;
        let (now, random, actor) = (world.now(), world.bytes(), actor.clone());
        self.store
            .write(move |rows| {
                let key = rows::key(rows, id)?.filter(|key| same_account(&actor, key)).ok_or_else(|| Error::not_found("key"))?;
                may_revoke(rows, &actor, &key)?;
                let already = key.revoked.is_some();
                let descendants = revoke_with_descendants(rows, id, reason.clone(), now)?;
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

    /// RFC 7009: whoever holds a token may end it. Unknown ones are no error.
    pub async fn revoke_presented(&self, token: &str, source: Source) -> Result<(), Error> {
        let Some(presented) = ApiKey::presented(token) else { return Ok(()) };
        let Some(key) = self.look_up(&presented).await? else { return Ok(()) };
        self.revoke_key(&Actor::Operator, key.id, Some("revoked by its holder".to_owned()), source).await.map(|_| ())
    }

    /// What happened to an account's keys and agents, newest first.
    pub async fn activity(&self, account: AccountId, limit: usize) -> Result<Vec<crate::domain::activity::Event>, Error> {
        let prefix = rows::entry(&[&account.to_string(), ""]);
        self.store
            .read(|rows| {
                let entries = rows.scan(Table::Events, &prefix, None, Order::Descending, limit)?;
                let events = entries.into_iter().map(|(key, _)| rows::load(rows, key));
                Ok(events.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            })
            .await
    }
}

fn missing(scope: &str) -> Error {
    Error::InsufficientScope { missing: scope.parse().into_iter().collect() }
}

fn same_account(actor: &Actor, key: &Key) -> bool {
    actor.account().is_none_or(|own| own == key.account)
}

/// A key sees itself, with `keys:write` its descendants, with `keys:read` all of its account.
fn sees(rows: &dyn Read, actor: &Actor, key: &Key) -> Result<bool, Error> {
    if !same_account(actor, key) {
        return Ok(false);
    }
    let Actor::Key(mine) = actor else { return Ok(true) };
    Ok(mine.id == key.id || mine.scopes.has(KEYS_READ) || (mine.scopes.has(KEYS_WRITE) && descends_from(rows, key, mine.id)?))
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

/// Ends a key, its descendants and its redelivery, within the caller's transaction. Returns how many descendants died.
pub(super) fn revoke_with_descendants(rows: &mut dyn Write, id: KeyId, reason: Option<String>, now: Timestamp) -> Result<u32, Error> {
    let (mut waiting, mut died) = (vec![id], 0);
    while let Some(next) = waiting.pop() {
        let Some(mut key) = rows::key(rows, next)? else { continue };
        waiting.extend(rows::children(rows, next)?.into_iter().map(|child| child.id));
        if key.revoked.is_some() {
            continue;
        }
        if let Some(registration) = key.redeliverable {
            super::delivery::forget_salt(rows, registration)?;
        }
        if let Origin::Agent { grant, .. } = &key.origin
            && let Some(mut grant) = rows::grant(rows, *grant)?
        {
            grant.ended_at.get_or_insert(now);
            rows::save(rows, &grant)?;
        }
        let why = if next == id { reason.clone() } else { Some(format!("its parent {id} was revoked")) };
        key.revoke(now, why);
        rows::save(rows, &key)?;
        died += u32::from(next != id);
    }
    Ok(died)
}

/// An account's limit of active keys holds in the commit that adds one; approvals not yet picked up count.
pub(super) fn room_for_one_more(rows: &dyn Read, account: AccountId, max: u32, but: Option<GrantId>, now: Timestamp) -> Result<(), Error> {
    if max == 0 {
        return Ok(());
    }
    let active = rows::account_keys(rows, account)?.iter().filter(|key| key.is_active(now)).count();
    let mut promised = 0;
    for grant in rows::account_grants(rows, account)? {
        let open = grant.key.is_none() && grant.ended_at.is_none() && Some(grant.id) != but;
        if open && matches!(rows::registration(rows, grant.registration)?, Some(Registration::Approved { .. })) {
            promised += 1;
        }
    }
    if active + promised >= max as usize {
        return Err(Error::Conflict { detail: format!("the account already has {max} active keys: revoke one first") });
    }
    Ok(())
}
