//! A service's own users, without a second password: an operator's service says who they are, and they come in.

use crate::{
    api::{
        accounts::PortalOpened,
        error::Error,
        values::{Revealed, Time},
    },
    domain::{
        account::Account,
        activity::EventKind,
        digest::Digest,
        id::AccountId,
        name::{Email, ExternalId},
        page_path::PagePath,
        scope::KEYS_WRITE,
        secret::{PortalTicket, SessionToken},
        server_secret::Purpose,
        session::PortalSession,
        source::Source,
        time::after,
    },
    service::{
        accounts::{portal_ticket::live, sessions::session_of, sign_in::begin, state::Accounts},
        caller::{Actor, Caller, Principal},
        record_event::record,
    },
    store::access::Read,
};

/// Where a human lands when the service says nothing else.
const LANDING: &str = "/settings/keys";

/// Whom a service signed in, as it came over the wire.
#[derive(Debug, Clone, Default)]
pub struct PortalUser {
    pub external_id: String,
    pub email: String,
    pub email_verified: bool,
    /// `None`: as it is, or `free`.
    pub plan: Option<String>,
    pub return_to: Option<String>,
}

/// The same, checked.
#[derive(Clone)]
struct Known {
    external_id: ExternalId,
    email: Email,
    email_verified: bool,
    plan: Option<String>,
}

impl Accounts {
    /// Finds or makes the account of a service's user, and a ticket that signs its human in: once, within a minute.
    ///
    /// It takes a key of an operator account with `keys:write`: whoever signs humans in can make keys in their name,
    /// and a server that only verifies must not be able to. Never an operator's account: a leaked key would be one.
    ///
    /// # Errors
    /// * [`Error::Forbidden`]: the caller is no key of an operator account, or the user's account may not be signed in to so.
    /// * [`Error::InsufficientScope`]: the key lacks `keys:write`.
    /// * [`Error::Invalid`]: a name, an e-mail, a plan or a path that can't be one.
    /// * [`Error::Conflict`]: e-mail and name belong to two accounts.
    pub async fn open_portal(&self, caller: &Caller, visit: PortalUser) -> Result<PortalOpened, Error> {
        // A session acts for its human alone, operator or not.
        if !caller.account.operator || !matches!(caller.who, Principal::Key(_)) {
            return Err(Error::Forbidden { detail: "portal sessions take a key of an operator account".to_owned() });
        }
        if !caller.has(KEYS_WRITE) {
            return Err(Error::InsufficientScope { missing: KEYS_WRITE.parse().into_iter().collect() });
        }
        let known = Known {
            external_id: visit.external_id.parse().map_err(|error| Error::invalid("external_id", format!("{error}")))?,
            email: visit.email.parse().map_err(|error| Error::invalid("email", format!("is {error}")))?,
            email_verified: visit.email_verified,
            plan: visit.plan.map(|plan| self.known_plan(plan)).transpose()?,
        };
        let return_to = visit.return_to.as_deref().unwrap_or(LANDING);
        let return_to: PagePath = return_to.parse().map_err(|error| Error::invalid("return_to", format!("{error}")))?;
        let ticket = PortalTicket::new(self.context.runtime.bytes());
        let (now, hash) = (self.context.runtime.now(), self.portal_hash(&ticket));
        let (new_id, randoms) = (
            AccountId::new(now, self.context.runtime.bytes()),
            [self.context.runtime.bytes(), self.context.runtime.bytes(), self.context.runtime.bytes()],
        );
        let expires_at = after(now, PortalSession::TTL);
        let actor = caller.actor();
        self.context
            .store
            .write(move |tx| {
                // The key as it is by now, after the body came.
                let Actor::Key(key) = actor.now(tx, now)? else { return Err(Error::internal("a portal session without a key")) };
                if !key.account.operator || !key.scopes.has(KEYS_WRITE) {
                    return Err(Error::InsufficientScope { missing: KEYS_WRITE.parse().into_iter().collect() });
                }
                let (mut account, found) = match whose(tx, &known)? {
                    Some((account, found)) => (account, Some(found)),
                    None => (newcomer(new_id, &known, now), None),
                };
                let told = bring_up_to_date(tx, &mut account, &known)?;
                tx.save(&account)?;
                let events = match found {
                    None => vec![EventKind::SignedUp],
                    Some(Found::ByEmail) => [vec![EventKind::Linked], told].concat(),
                    Some(Found::ByExternalId) => told,
                };
                for (what, random) in events.into_iter().zip(randoms) {
                    record(tx, account.id, None, what, now, random)?;
                }
                let portal = PortalSession { ticket: hash, account: account.id, return_to: return_to.clone(), expires_at };
                Ok::<_, Error>(tx.save(&portal)?)
            })
            .await?;
        Ok(PortalOpened {
            url: Revealed::new(&format!("{}/portal?ticket={}", self.context.config.pages_url, ticket.expose())),
            expires_at: Time(expires_at),
        })
    }

    /// Whom a ticket would sign in, and where to; changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], as for [`live`].
    pub async fn portal(&self, ticket: &PortalTicket) -> Result<(Account, PagePath), Error> {
        let hash = self.portal_hash(ticket);
        let now = self.context.runtime.now();
        self.context.store.read(|tx| live(tx, &hash, now).map(|(account, portal)| (account, portal.return_to))).await
    }

    /// Signs the human in. The ticket is gone in the same commit: of two who come with it one is late.
    ///
    /// # Errors
    /// [`Error::NotFound`], as for [`live`].
    pub async fn enter_portal(&self, ticket: &PortalTicket, source: Source) -> Result<(SessionToken, PagePath), Error> {
        let (now, random, hash) = (self.context.runtime.now(), self.context.runtime.bytes(), self.portal_hash(ticket));
        let token = SessionToken::new(self.context.runtime.bytes());
        let session_hash = self.session_hash(&token);
        let return_to = self
            .context
            .store
            .write(move |tx| {
                let (account, portal) = live(tx, &hash, now)?;
                tx.erase(&portal);
                begin(tx, &session_of(account.id, session_hash, source, now), random)?;
                Ok::<_, Error>(portal.return_to)
            })
            .await?;
        Ok((token, return_to))
    }

    fn portal_hash(&self, ticket: &PortalTicket) -> Digest {
        self.context.secret.hash(Purpose::PortalTicket, ticket.expose().as_bytes())
    }
}

/// How an account was found.
#[derive(Clone, Copy)]
enum Found {
    ByExternalId,
    ByEmail,
}

/// The account of a service's user. By its e-mail only where both sides have verified it: else a service's user could
/// name somebody's address and get their keys, or somebody could sign up here with a stranger's address and wait.
fn whose(tx: &dyn Read, known: &Known) -> Result<Option<(Account, Found)>, Error> {
    let found = match tx.accounts().by_external_id(&known.external_id)? {
        Some(account) => Some((account, Found::ByExternalId)),
        None => tx.accounts().by_email(&known.email)?.map(|account| (account, Found::ByEmail)),
    };
    let Some((account, how)) = found else { return Ok(None) };
    if account.operator {
        return Err(Error::Forbidden { detail: "nobody comes into an operator account by a portal session".to_owned() });
    }
    if account.disabled_at.is_some() {
        return Err(Error::Forbidden { detail: "the account is disabled".to_owned() });
    }
    if let Found::ByEmail = how {
        if account.external_id.is_some() {
            return Err(Error::Conflict { detail: "the e-mail belongs to an account with another external_id".to_owned() });
        }
        if !known.email_verified || !account.email_verified {
            return Err(Error::Conflict {
                detail: "an account with this e-mail exists, and the e-mail is not verified on both sides: send email_verified, \
                         and see countersign accounts verify-email"
                    .to_owned(),
            });
        }
    }
    Ok(Some((account, how)))
}

/// No password: its human comes by the service alone, and no page asks for one.
fn newcomer(id: AccountId, known: &Known, now: jiff::Timestamp) -> Account {
    Account {
        id,
        email: known.email.clone(),
        email_verified: known.email_verified,
        password: None,
        operator: false,
        plan: known.plan.clone().unwrap_or_else(|| "free".to_owned()),
        external_id: Some(known.external_id.clone()),
        created_at: now,
        disabled_at: None,
    }
}

/// What the service says now. An address that was verified stays so for as long as it is the same.
fn bring_up_to_date(tx: &dyn Read, account: &mut Account, known: &Known) -> Result<Vec<EventKind>, Error> {
    let mut told = Vec::new();
    account.external_id = Some(known.external_id.clone());
    let holder = tx.accounts().by_email(&known.email)?;
    if holder.is_some_and(|holder| holder.id != account.id) {
        return Err(Error::Conflict { detail: "the e-mail belongs to another account".to_owned() });
    }
    let same = account.email == known.email;
    if !same {
        told.push(EventKind::EmailChanged);
        account.email = known.email.clone();
    }
    account.email_verified = known.email_verified || (same && account.email_verified);
    if let Some(plan) = known.plan.clone().filter(|plan| *plan != account.plan) {
        told.push(EventKind::PlanChanged { plan: plan.clone() });
        account.plan = plan;
    }
    Ok(told)
}
