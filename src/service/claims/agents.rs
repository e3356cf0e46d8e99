//! The agents a human let in, one line per approval, and how to send them away: everything issued from an approval
//! dies with it.

use crate::{
    api::{
        agents::{AgentList, AgentState, AgentView, AgentsRevoked},
        error::Error,
        values::Time,
    },
    domain::{
        activity::EventKind,
        grant::Grant,
        id::{AccountId, GrantId},
        key::{Key, Status},
        registration::transitions::Registration,
        source::Source,
    },
    service::{
        caller::Actor,
        claims::state::Claims,
        keys::{lineage::revoke_with_all, list::MAX_PAGE},
        record_event::record,
    },
    store::access::{Read, Write},
};
use jiff::Timestamp;

const DEFAULT_PAGE: usize = 20;

impl Claims {
    /// A page of an account's agents, newest approval first; for the operator those of all accounts.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: a limit out of its range, or a cursor that no page gave.
    /// * [`Error::Forbidden`]: a key asks.
    pub async fn list_agents(
        &self,
        actor: &Actor,
        account: Option<AccountId>,
        cursor: Option<&str>,
        limit: Option<usize>,
    ) -> Result<AgentList, Error> {
        let limit = limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {MAX_PAGE}")));
        }
        let cursor = match cursor {
            Some(text) => Some(text.parse::<GrantId>().map_err(|_| Error::invalid("cursor", "is not one this server gave"))?),
            None => None,
        };
        let account = human(actor)?.or(account);
        let now = self.context.runtime.now();
        self.context
            .store
            .read(|tx| {
                let page = tx.grants().list(account, cursor, limit + 1)?;
                let shown = page.rows.iter().take(limit);
                let agents = shown.map(|grant| self.agent_view(tx, grant, now)).collect::<Result<Vec<_>, _>>()?;
                let next_cursor = if page.is_last { None } else { agents.last().map(|last| last.id.to_string()) };
                Ok(AgentList { agents, next_cursor })
            })
            .await
    }

    /// One agent of the account, or 404 as for unknown ones.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is none, or it is another account's. [`Error::Forbidden`]: a key asks.
    pub async fn get_agent(&self, actor: &Actor, id: GrantId) -> Result<AgentView, Error> {
        let (account, now) = (human(actor)?, self.context.runtime.now());
        self.context.store.read(|tx| self.agent_view(tx, &grant_of(tx, account, id)?, now)).await
    }

    fn agent_view(&self, tx: &dyn Read, grant: &Grant, now: Timestamp) -> Result<AgentView, Error> {
        let key = grant.key.map(|key| tx.keys().get(key)).transpose()?.flatten();
        let registration = tx.registrations().get(grant.registration)?;
        let state = match &key {
            Some(key) => match key.status(now) {
                Status::Active => AgentState::Active,
                Status::Revoked => AgentState::Revoked,
                Status::Expired => AgentState::Expired,
                Status::Disabled => AgentState::Disabled,
            },
            None => match &registration {
                Some(Registration::Approved { request, .. }) if now < request.deliverable_until() => AgentState::Approved,
                Some(Registration::Denied { .. }) => AgentState::Revoked,
                _ => AgentState::NeverCollected,
            },
        };
        let approved_by = tx.accounts().get(grant.account)?.map_or_else(String::new, |account| account.email.masked());
        Ok(AgentView {
            id: grant.id,
            account_id: grant.account,
            agent_name: grant.agent_name.to_string(),
            registration_id: grant.registration,
            state,
            scopes: key.as_ref().map_or_else(|| grant.scopes.clone(), |key| key.scopes.clone()),
            environment: key.as_ref().map(|key| key.environment).or(grant.environment),
            approved_by,
            approved_at: Time(grant.approved_at),
            approved_from: grant.approved_from.map(|source| source.to_string()),
            asked_from: registration.map(|registration| registration.request().source.to_string()),
            ended_at: grant.ended_at.map(Time),
            key: key.map(|key| self.keys.view(tx, &key, now)).transpose()?.map(Box::new),
        })
    }

    /// Sends one agent away: its keys, all they made, and a key it has not picked up yet, in one commit. Idempotent.
    ///
    /// # Errors
    /// As [`Self::get_agent`].
    pub async fn revoke_agent(&self, actor: &Actor, id: GrantId, source: Source) -> Result<AgentsRevoked, Error> {
        let (account, now, random, actor) = (human(actor)?, self.context.runtime.now(), self.context.runtime.bytes(), actor.clone());
        let keys = self
            .context
            .store
            .write(move |tx| {
                actor.now(tx, now)?;
                let grant = grant_of(tx, account, id)?;
                if grant.ended_at.is_some() {
                    return Ok(None);
                }
                let keys = end(tx, &grant, now)?;
                record(tx, grant.account, Some(source), EventKind::AgentRevoked { grant: id, agent: grant.agent_name, keys }, now, random)?;
                Ok::<_, Error>(Some(keys))
            })
            .await?;
        Ok(AgentsRevoked { agents: u32::from(keys.is_some()), keys: keys.unwrap_or_default() })
    }

    /// Sends every agent of an account away, in one commit; for the operator without an account everybody's, one
    /// commit an account.
    ///
    /// # Errors
    /// [`Error::Forbidden`]: a key asks. What was revoked before a failure stays revoked.
    pub async fn revoke_all_agents(&self, actor: &Actor, account: Option<AccountId>, source: Source) -> Result<AgentsRevoked, Error> {
        let accounts = match human(actor)?.or(account) {
            Some(account) => vec![account],
            None => self.accounts_with_agents().await?,
        };
        let mut total = AgentsRevoked::default();
        for account in accounts {
            let revoked = self.revoke_agents_of(actor, account, source).await?;
            total.agents += revoked.agents;
            total.keys += revoked.keys;
        }
        Ok(total)
    }

    async fn revoke_agents_of(&self, actor: &Actor, account: AccountId, source: Source) -> Result<AgentsRevoked, Error> {
        let (now, seed, actor) = (self.context.runtime.now(), self.context.runtime.bytes::<16>(), actor.clone());
        self.context
            .store
            .write(move |tx| {
                actor.now(tx, now)?;
                let mut revoked = AgentsRevoked::default();
                for grant in tx.grants().of_account(account)?.into_iter().filter(|grant| grant.ended_at.is_none()) {
                    let keys = end(tx, &grant, now)?;
                    revoked.agents += 1;
                    revoked.keys += keys;
                    let random = u128::from_be_bytes(seed).wrapping_add(u128::from(revoked.agents)).to_be_bytes();
                    let what = EventKind::AgentRevoked { grant: grant.id, agent: grant.agent_name, keys };
                    record(tx, account, Some(source), what, now, random)?;
                }
                Ok::<_, Error>(revoked)
            })
            .await
    }

    async fn accounts_with_agents(&self) -> Result<Vec<AccountId>, Error> {
        self.context
            .store
            .read(|tx| {
                let grants = tx.grants().by_account()?;
                let mut accounts: Vec<_> = grants.into_iter().filter(|grant| grant.ended_at.is_none()).map(|grant| grant.account).collect();
                accounts.dedup();
                Ok(accounts)
            })
            .await
    }
}

/// Agents are their human's matter: a key, were it to be stolen, must not send the others away, or see them.
fn human(actor: &Actor) -> Result<Option<AccountId>, Error> {
    match actor {
        Actor::Owner { account, .. } | Actor::Program { account, .. } => Ok(Some(*account)),
        Actor::Operator => Ok(None),
        Actor::Key(_) => Err(Error::Forbidden { detail: "only a human can look after their agents".to_owned() }),
    }
}

fn grant_of(tx: &dyn Read, account: Option<AccountId>, id: GrantId) -> Result<Grant, Error> {
    tx.grants().get(id)?.filter(|grant| account.is_none_or(|own| own == grant.account)).ok_or_else(|| Error::not_found("agent"))
}

/// Ends a grant, and the registration whose polls wait for a key that will not come; how many keys died.
fn end(tx: &mut dyn Write, grant: &Grant, now: Timestamp) -> Result<u32, Error> {
    tx.takes_away();
    tx.save(&Grant { ended_at: Some(now), ..grant.clone() })?;
    let mut died = 0;
    for key in tx.keys().of_account(grant.account)? {
        // Read again: an earlier one may have taken it along.
        if key.origin.grant() == Some(grant.id) && tx.keys().get(key.id)?.is_some_and(|key: Key| key.revoked.is_none()) {
            died += 1 + revoke_with_all(tx, key.id, Some("its agent was revoked".to_owned()), now)?;
        }
    }
    if let Some(registration @ Registration::Approved { .. }) = tx.registrations().get(grant.registration)? {
        tx.save(&registration.withdraw(now).map_err(Error::from)?)?;
    }
    Ok(died)
}
