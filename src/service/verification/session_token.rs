//! A program's session token: whether it works now, and as whom.

use crate::{
    api::{
        error::Error,
        values::Time,
        verification::{RateLimit, SessionView},
    },
    domain::{id::ProgramSessionId, secret::AccessToken},
    service::{
        caller::{Caller, Principal, Requirements},
        verification::state::Verifier,
    },
};
use std::sync::Arc;

impl Verifier {
    /// Step 2: lets a session in as its account, within the account's plan. Its environment is the deployment's.
    ///
    /// # Errors
    /// * [`Error::Unauthorized`]: wrong, over, signed out, of a disabled account, or of another environment.
    /// * [`Error::InsufficientScope`], [`Error::RateLimited`].
    pub(crate) async fn authenticate_session(&self, presented: &AccessToken, need: &Requirements) -> Result<Caller, Error> {
        let unknown = Error::Unauthorized { presented: true };
        let (Some(tokens), now) = (&self.session_tokens, self.context.runtime.now()) else { return Err(unknown) };
        let Some((id, account)) = tokens.read(presented, now) else { return Err(unknown) };
        let found = self
            .context
            .store
            .read(|tx| {
                let session = tx.program_sessions().get(id)?.filter(|session| session.account == account && session.is_live(now));
                Ok::<_, Error>(if session.is_some() { tx.accounts().get(account)? } else { None })
            })
            .await?;
        let Some(account) = found.filter(|account| account.disabled_at.is_none()).map(|account| Arc::new(account.facts())) else {
            return Err(unknown);
        };
        if need.environment.is_some_and(|environment| environment != self.context.config.environment) {
            return Err(unknown);
        }
        let missing = need.scopes.missing_from(&tokens.scopes);
        if !missing.is_empty() {
            return Err(Error::InsufficientScope { missing });
        }
        let ratelimit = self.rate_limits.charge_account(&account, need.cost).map_err(Error::RateLimited)?;
        Ok(Caller { who: Principal::Session(id), account, ratelimit })
    }

    /// Where the allowance of a presented session token's account stands; takes nothing.
    pub(crate) async fn rate_limit_status_of_session(&self, presented: &AccessToken) -> Result<Option<RateLimit>, Error> {
        match self.authenticate_session(presented, &Requirements::default()).await {
            Ok(caller) => Ok(caller.ratelimit),
            Err(Error::Unauthorized { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a session is and may do.
    ///
    /// # Errors
    /// [`Error::Unauthorized`]: it was signed out.
    pub(crate) async fn session_view(&self, id: ProgramSessionId) -> Result<SessionView, Error> {
        let session = self.context.store.read(|tx| tx.program_sessions().get(id)).await?.ok_or(Error::Unauthorized { presented: true })?;
        Ok(SessionView {
            id,
            scopes: self.session_tokens.iter().flat_map(|tokens| tokens.scopes.iter().cloned()).collect(),
            environment: self.context.config.environment,
            created_at: Time(session.created_at),
            expires_at: Time(session.ends_at()),
        })
    }
}
