//! A browser's session at the moment something is done in its right.
//!
//! A request is let in at its head. What it wants comes with its body, perhaps much later, and by then its human may
//! have signed out everywhere, changed the password or been disabled. So whatever a session does asks for it again, in
//! the transaction that does it ([`signed_in`]).
//!
//! Giving somebody a right takes a sign-in that is fresh besides, whichever page it is done on ([`must_be_fresh`]):
//! approving what is risky, making a key, widening, enabling or rotating one, an operator's word for an account. Who
//! holds a stolen cookie alone gets no further than taking things away.

use crate::{
    api::error::Error,
    domain::{account::Account, digest::Digest, secret::Password, session::BrowserSession, source::Source},
    service::{accounts::state::Accounts, caller::active_account},
    store::{engine::Read, rows},
};
use jiff::Timestamp;

/// The session of this token's hash with its account, as both are now.
pub fn signed_in(rows: &(impl Read + ?Sized), token: Digest, now: Timestamp) -> Result<(BrowserSession, Account), Error> {
    let session =
        rows::load::<BrowserSession>(rows, token.as_bytes())?.filter(|session| session.is_live(now)).ok_or(Error::SignInNeeded)?;
    let account = active_account(rows, session.account)?;
    Ok((session, account))
}

/// Refuses a session whose human has not proven for a while that they are there.
pub fn must_be_fresh(session: &BrowserSession, account: &Account, now: Timestamp) -> Result<(), Error> {
    if session.is_fresh(now) {
        return Ok(());
    }
    if account.password.is_none() {
        // Signed in by the service: that sign-in is what has to be fresh.
        return Err(Error::Forbidden {
            detail: "you signed in more than five minutes ago: come here from your service again, then do this".to_owned(),
        });
    }
    Err(Error::invalid("password", "is needed again: you signed in more than five minutes ago"))
}

impl Accounts {
    /// Makes a session fresh by its account's password; one that is fresh needs none.
    pub async fn sign_in_again(
        &self,
        session: &BrowserSession,
        password: Option<Password>,
        source: Source,
    ) -> Result<BrowserSession, Error> {
        let (token, now) = (session.token, self.context.runtime.now());
        let (session, account) = self.context.store.read(|rows| signed_in(rows, token, now)).await?;
        let stale = must_be_fresh(&session, &account, now);
        let password = match (stale, password) {
            (Ok(()), _) => return Ok(session),
            (Err(_), Some(password)) if account.password.is_some() => password,
            (Err(error), _) => return Err(error),
        };
        self.check_own_password(&session, &account, password, &source).await?;
        let now = self.context.runtime.now();
        self.context
            .store
            .write(move |rows| {
                let (mut session, _) = signed_in(rows, token, now)?;
                session.authenticated_at = now;
                rows::save(rows, &session)?;
                Ok::<_, Error>(session)
            })
            .await
    }
}
