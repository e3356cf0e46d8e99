//! A browser's session at the moment something is done in its right, and whether its human proved a moment ago to be there.

use crate::{
    api::error::Error,
    domain::{account::Account, digest::Digest, session::BrowserSession},
    service::active_account::active_account,
    store::access::Read,
};
use jiff::Timestamp;

/// The session of this token's hash with its account, as both are now.
///
/// # Errors
/// [`Error::SignInNeeded`]: the session is over, or its account disabled.
pub fn signed_in(tx: &dyn Read, token: Digest, now: Timestamp) -> Result<(BrowserSession, Account), Error> {
    let session = tx.browser_sessions().get(&token)?.filter(|session| session.is_live(now)).ok_or(Error::SignInNeeded)?;
    let account = active_account(tx, session.account)?;
    Ok((session, account))
}

/// Refuses a session whose human has not proven for a while that they are there.
///
/// # Errors
/// [`Error::PasswordNeeded`]; [`Error::Forbidden`] where the account has no password, because its service signs it in.
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
    Err(Error::PasswordNeeded)
}
