//! New keys.

use crate::{
    api::{
        error::Error,
        keys::{Created, Issued},
        values::Revealed,
    },
    cache::cached_key::CachedKey,
    config::settings::Config,
    domain::{
        account::Account,
        activity::EventKind,
        environment::Environment,
        id::AccountId,
        idempotency::Outcome,
        key::{Key, Origin},
        name::Name,
        scope::{KEYS_VERIFY, KEYS_WRITE, ScopeSet},
        source::Source,
        time::after,
    },
    service::{
        active_account::active_account,
        caller::Actor,
        idempotency::{CallName, Once, Turn},
        keys::{access::missing, issue::lifetime, lineage::may_make, quota::check_key_quota, state::Keys},
        record_event::record,
    },
};
use serde::Serialize;

/// What a new key should be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewKey {
    pub name: String,
    pub scopes: Vec<String>,
    pub environment: Option<Environment>,
    /// Seconds; `None`: until revoked, or as long as its parent.
    pub expires_in: Option<i64>,
    /// A limit of its own, at most the account's plan's (but by the operator's word); `None`: the plan's, or its parent's.
    pub requests_per_minute: Option<u32>,
}

impl Keys {
    /// Creates a key. The secret is in the reply and nowhere else.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: name, scopes, lifetime or limit.
    /// * [`Error::InsufficientScope`], [`Error::Forbidden`]: a key asks that makes none, or the new one would be wider than the
    ///   key or session that makes it.
    /// * [`Error::PasswordNeeded`], [`Error::SignInNeeded`], [`Error::Unauthorized`]: the actor's sign-in is not fresh, or what
    ///   it came with works no more.
    /// * [`Error::NotFound`]: the account is another's, unknown or disabled.
    /// * [`Error::Conflict`]: the account has as many active keys as it may.
    pub async fn create_key(&self, actor: Actor, account: AccountId, new: NewKey, source: Source) -> Result<Created, Error> {
        let Issued { key, view, .. } = self.create_key_once(actor, account, new, source, None).await?;
        let key = key.ok_or_else(|| Error::internal("a key without its secret"))?;
        Ok(Created { key: Revealed::new(key.expose()), view })
    }

    /// The same for a caller that may retry: the key is made once, its secret shown once.
    ///
    /// # Errors
    /// As [`Self::create_key`]; and [`Error::IdempotencyKeyReused`] for a name that stands for another request.
    pub async fn create_key_once(
        &self,
        actor: Actor,
        account: AccountId,
        new: NewKey,
        source: Source,
        once: Option<&Once>,
    ) -> Result<Issued, Error> {
        self.create_key_as(actor, account, new, source, once.into()).await
    }

    /// The same by whatever name: an operation sent again is answered with the secret again.
    ///
    /// # Errors
    /// As [`Self::create_key_once`].
    pub async fn create_key_as(
        &self,
        actor: Actor,
        account: AccountId,
        new: NewKey,
        source: Source,
        name: CallName<'_>,
    ) -> Result<Issued, Error> {
        if actor.account().is_some_and(|own| own != account) {
            return Err(Error::not_found("account"));
        }
        let called: Name = new.name.parse().map_err(|error| Error::invalid("name", format!("{error}")))?;
        let scopes = self.known_scopes(&new.scopes)?;
        let Turn { runtime, note, .. } = self.context.begin_named(name, "create", &new).await?;
        let now = runtime.now();
        let expires_at = lifetime(new.expires_in)?.map(|lifetime| after(now, lifetime));
        let environment = match &actor {
            Actor::Key(key) if new.environment.is_some_and(|e| e != key.environment) => {
                return Err(Error::Forbidden { detail: format!("a {} key can't make keys of another environment", key.environment) });
            }
            Actor::Key(key) => key.environment,
            Actor::Owner { .. } | Actor::Program { .. } | Actor::Operator => new.environment.unwrap_or(self.context.config.environment),
        };
        let fresh = self.fresh_key(environment, &runtime);
        let draft = Key {
            id: fresh.id,
            account,
            name: called,
            hash: fresh.hash,
            secret: self.context.secret.id(),
            shown: fresh.shown,
            environment,
            scopes,
            created_at: now,
            expires_at,
            revoked: None,
            disabled_at: None,
            disabled_reason: None,
            disabled_with: None,
            parent: None,
            root: None,
            origin: Origin::Human,
            requests_per_minute: new.requests_per_minute,
            replaces: None,
            replaced_by: None,
            redeliverable: None,
        };
        let (config, random) = (self.context.config.clone(), runtime.bytes());
        let made = self
            .context
            .store
            .write(move |tx| {
                let actor = actor.now(tx, now)?;
                if let Some(made) = note.made(tx, draft.id)? {
                    return Ok(made);
                }
                may_make(tx, &actor)?;
                actor.may_give(tx, now)?;
                let owner = active_account(tx, account).map_err(|_| Error::not_found("account"))?;
                let mut key = draft.clone();
                if let Actor::Key(parent) = &actor {
                    bound(&mut key, parent)?;
                }
                within_session(&actor, &owner, &key.scopes)?;
                within_plan(&config, &actor, &owner.plan, key.requests_per_minute)?;
                check_key_quota(tx, account, config.keys.max_active_per_account, None, now)?;
                tx.save(&key)?;
                record(tx, account, Some(source), EventKind::KeyCreated { key: key.id, name: key.name.clone() }, now, random)?;
                note.put(tx, Outcome::Key { key: key.id })?;
                Ok::<_, Error>(key.id)
            })
            .await?;
        self.issued(made, (made == fresh.id).then_some(&fresh.secret)).await
    }
}

/// A child is never wider than its parent in scopes, lifetime and limit; its environment is its parent's.
fn bound(key: &mut Key, parent: &CachedKey) -> Result<(), Error> {
    if !parent.scopes.has(KEYS_WRITE) {
        return Err(missing(KEYS_WRITE));
    }
    let wider = key.scopes.missing_from(&parent.scopes);
    if !wider.is_empty() {
        return Err(Error::InsufficientScope { missing: wider });
    }
    if let (Some(most), Some(asked)) = (parent.expires_at(), key.expires_at)
        && asked > most
    {
        return Err(Error::Forbidden { detail: "a key can't make one that outlives it".to_owned() });
    }
    if let (Some(most), Some(asked)) = (parent.requests_per_minute(), key.requests_per_minute)
        && asked > most
    {
        return Err(Error::Forbidden { detail: format!("a key can't make one with more than its own {most} requests a minute") });
    }
    key.expires_at = key.expires_at.or(parent.expires_at());
    key.requests_per_minute = key.requests_per_minute.or(parent.requests_per_minute());
    (key.parent, key.root, key.origin) = (Some(parent.id), Some(parent.root()), Origin::Key);
    Ok(())
}

/// A program's session acts for its human alone. A key of an operator that verifies or makes others' would act for all,
/// and outlive the session.
///
/// # Errors
/// [`Error::Forbidden`]: a program asks for such a key.
pub fn within_session(actor: &Actor, owner: &Account, scopes: &ScopeSet) -> Result<(), Error> {
    let reaches_others = owner.operator && [KEYS_VERIFY, KEYS_WRITE].into_iter().any(|scope| scopes.has(scope));
    match actor {
        Actor::Program { .. } if reaches_others => Err(Error::Forbidden {
            detail: format!("a program's session gives an operator's keys no `{KEYS_VERIFY}` and no `{KEYS_WRITE}`: use the page"),
        }),
        _ => Ok(()),
    }
}

/// A key's own limit is at most its plan's; only the operator gives more.
fn within_plan(config: &Config, actor: &Actor, plan: &str, own: Option<u32>) -> Result<(), Error> {
    let Some(own) = own else { return Ok(()) };
    if own == 0 {
        return Err(Error::invalid("requests_per_minute", "must be at least 1"));
    }
    let plan = config.plans.get(plan).or_else(|| config.plans.values().min_by_key(|plan| plan.requests_per_minute));
    let most = match (actor, plan) {
        (Actor::Operator, _) | (_, None) => return Ok(()),
        // What a key may have it may give: it is bounded by that already.
        (Actor::Key(parent), _) if parent.requests_per_minute().is_some() => return Ok(()),
        (Actor::Owner { .. } | Actor::Program { .. } | Actor::Key(_), Some(plan)) => plan.requests_per_minute,
    };
    if own <= most { Ok(()) } else { Err(Error::invalid("requests_per_minute", format!("must be at most the plan's {most}"))) }
}
