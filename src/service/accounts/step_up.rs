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
    domain::{secret::Password, session::BrowserSession, source::Source},
    service::{
        accounts::state::Accounts,
        fresh_sign_in::{must_be_fresh, signed_in},
    },
};

impl Accounts {
    /// Makes a session fresh by its account's password; one that is fresh needs none.
    ///
    /// # Errors
    /// * [`Error::SignInNeeded`]: the session is over.
    /// * As [`must_be_fresh`], when no password was given.
    /// * [`Error::WrongPassword`], [`Error::TooMany`], [`Error::Busy`], when one was.
    pub async fn sign_in_again(
        &self,
        session: &BrowserSession,
        password: Option<Password>,
        source: Source,
    ) -> Result<BrowserSession, Error> {
        let (token, now) = (session.token, self.context.runtime.now());
        let (session, account) = self.context.store.read(|tx| signed_in(tx, token, now)).await?;
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
            .write(move |tx| {
                let (mut session, _) = signed_in(tx, token, now)?;
                session.authenticated_at = now;
                tx.save(&session)?;
                Ok::<_, Error>(session)
            })
            .await
    }
}
