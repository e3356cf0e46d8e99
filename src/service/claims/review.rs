//! The human's side of the ceremony: enter the code, see who asks for what, decide.

use crate::{
    api::error::Error,
    domain::{
        account::Account,
        environment::Environment,
        id::{AccountId, RegistrationId},
        registration::request::{Attempt, RegistrationRequest},
        scope::{Risk, Scope},
        server_secret::Purpose,
        session::BrowserSession,
        source::Source,
    },
    service::{
        claims::{enter_code::check_hint, state::Claims},
        fresh_sign_in::signed_in,
    },
    store::access::Read,
};
use jiff::{SignedDuration, Timestamp};

/// A disowned request flags where it came from for a day.
pub const FLAG_RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// One scope as the page shows it.
#[derive(Debug, Clone)]
pub struct ReviewScope {
    pub scope: Scope,
    pub title: String,
    pub risk: Risk,
}

/// Everything the approval page shows, and nothing it does not.
#[derive(Debug, Clone)]
pub struct Review {
    pub registration: RegistrationId,
    pub account: Account,
    pub agent_name: String,
    pub name_has_lookalikes: bool,
    pub scopes: Vec<ReviewScope>,
    pub ignored: Vec<String>,
    pub environment: Environment,
    pub offered_environments: Vec<Environment>,
    /// The lifetime an approval gives unless it is shortened; `None`: until revoked.
    pub lifetime: Option<SignedDuration>,
    pub asked_at: Timestamp,
    pub asked_from: Source,
    pub you_are_at: Source,
    /// The human who is looking comes from somewhere else than the request.
    pub elsewhere: bool,
    /// The source was disowned by a human within a day.
    pub flagged: bool,
    pub hint_is_another: Option<String>,
    pub first_agent: bool,
    pub first_of_this_name: bool,
    pub code_expires_at: Timestamp,
    /// Approving takes the code, typed.
    pub needs_code: bool,
    /// Approving takes the password, again.
    pub needs_password: bool,
    /// Over what was shown: a change in between refuses the decision.
    pub digest: String,
}

impl Claims {
    /// Whether the code field may be prefilled for this account: its first agent's code is typed.
    pub async fn has_agents(&self, account: AccountId) -> Result<bool, Error> {
        self.context.store.read(|tx| has_grants(tx, account)).await
    }

    /// A tag over all the human was shown. It comes back with the decision, which counts only for what was seen.
    pub(crate) fn review_digest(&self, account: AccountId, request: &RegistrationRequest, attempt: &Attempt) -> String {
        let shown = serde_json::json!([
            account,
            attempt.id,
            request.id,
            request.agent_name,
            request.scopes,
            request.environment,
            self.context.config.offered_environments(),
            self.context.config.claim.key_ttl,
            request.scopes.iter().map(|scope| self.context.catalogue.get(scope)).collect::<Vec<_>>(),
        ]);
        self.context.secret.tag(Purpose::ReviewDigest, shown.to_string().as_bytes())
    }

    /// Step 4, before the decision: what the human is asked. Only the account that entered the code gets it.
    ///
    /// # Errors
    /// * [`Error::SignInNeeded`]: the session is over.
    /// * [`Error::WrongCode`], [`Error::AlreadyDecided`]: as for [`Self::approve`].
    /// * [`Error::Forbidden`]: as for [`check_hint`].
    pub async fn review(&self, session: &BrowserSession, id: RegistrationId, source: Source) -> Result<Review, Error> {
        let (now, account_id, token) = (self.context.runtime.now(), session.account, session.token);
        let (session, account, registration, grants, flagged) = self
            .context
            .store
            .read(|tx| {
                let (session, account) = signed_in(tx, token, now)?;
                let registration = tx.registrations().get(id)?.ok_or(Error::WrongCode)?;
                let flagged = tx.flagged_sources().until(&registration.request().source)?.is_some_and(|until| until > now.as_second());
                let grants = tx.grants().of_account(account_id)?;
                Ok::<_, Error>((session, account, registration, grants, flagged))
            })
            .await?;
        let (request, attempt) = registration.decidable(account_id, now)?;
        check_hint(self.context.config.claim.login_hint, &account, request)?;
        let lifetime = self.context.config.claim.key_ttl.0;
        let first_agent = grants.is_empty();
        let scopes = request
            .scopes
            .iter()
            .filter_map(|scope| self.context.catalogue.get(scope).map(|info| (scope, info)))
            .map(|(scope, info)| ReviewScope { scope: scope.clone(), title: info.title.clone(), risk: info.risk })
            .collect();
        let risky = self.typed_needed(&request.scopes, lifetime.is_none(), first_agent);
        let same_place =
            request.source.rate_limit_key() == source.rate_limit_key() || (request.source.is_this_computer() && source.is_this_computer());
        Ok(Review {
            registration: id,
            agent_name: request.agent_name.to_string(),
            name_has_lookalikes: request.agent_name.has_lookalikes(),
            scopes,
            ignored: request.ignored.clone(),
            environment: request.environment,
            offered_environments: self.context.config.offered_environments(),
            lifetime,
            asked_at: request.created_at,
            asked_from: request.source,
            you_are_at: source,
            elsewhere: !same_place || request.source == Source::Hidden,
            flagged,
            hint_is_another: request.login_hint.as_ref().filter(|hint| **hint != account.email).map(ToString::to_string),
            first_agent,
            first_of_this_name: !grants.iter().any(|grant| grant.agent_name == request.agent_name),
            code_expires_at: attempt.expires_at,
            needs_code: risky && !attempt.typed,
            needs_password: risky && !session.is_fresh(now) && account.password.is_some(),
            digest: self.review_digest(account_id, request, attempt),
            account,
        })
    }
}

fn has_grants(tx: &dyn Read, account: AccountId) -> Result<bool, Error> {
    Ok(!tx.grants().list(Some(account), None, 1)?.rows.is_empty())
}
