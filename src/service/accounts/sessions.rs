//! Browser sessions.

use crate::{
    api::error::Error,
    domain::{
        account::Account, digest::Digest, id::AccountId, secret::SessionToken, server_secret::Purpose, session::BrowserSession,
        source::Source,
    },
    service::{
        accounts::{portal_ticket::end_tickets, state::Accounts},
        active_account::active_account,
    },
    store::{
        access::{Read, Write},
        error::StoreError,
    },
};
use jiff::Timestamp;
use subtle::ConstantTimeEq;

impl Accounts {
    /// What a cookie's session is stored under.
    pub(super) fn session_hash(&self, token: &SessionToken) -> Digest {
        self.context.secret.hash(Purpose::Session, token.expose().as_bytes())
    }

    /// The live session of a presented cookie, with its account. Unknown tokens are never adopted.
    pub async fn session(&self, token: &SessionToken) -> Result<Option<(BrowserSession, Account)>, Error> {
        let (hash, now) = (self.session_hash(token), self.context.runtime.now());
        let found = self
            .context
            .store
            .read(|tx| {
                let Some(session) = tx.browser_sessions().get(&hash)? else { return Ok(None) };
                Ok::<_, Error>(active_account(tx, session.account).ok().map(|account| (session, account)))
            })
            .await?;
        if found.as_ref().is_some_and(|(session, _)| !session.is_live(now)) {
            self.latest_time.note_end(now).await;
            return Ok(None);
        }
        if let Some((session, _)) = &found
            && now.duration_since(session.seen_at) >= BrowserSession::SEEN_INTERVAL
        {
            self.context
                .store
                .write(move |tx| {
                    if let Some(mut session) = tx.browser_sessions().get(&hash)? {
                        session.seen_at = now;
                        tx.save(&session)?;
                    }
                    Ok::<_, Error>(())
                })
                .await?;
        }
        Ok(found)
    }

    /// Ends a session at once.
    pub async fn sign_out(&self, token: &SessionToken) -> Result<(), Error> {
        let hash = self.session_hash(token);
        self.context
            .store
            .write(move |tx| {
                tx.takes_away();
                if let Some(session) = tx.browser_sessions().get(&hash)? {
                    tx.erase(&session);
                }
                Ok::<_, Error>(())
            })
            .await
    }

    /// The token every form of a browser carries, bound to its cookie.
    pub fn form_token(&self, cookie: &str) -> String {
        self.context.secret.tag(Purpose::Csrf, cookie.as_bytes())
    }

    /// Whether a form was rendered for the browser that sends it, so that no other page can send it for the human. In constant
    /// time.
    pub fn form_token_is_right(&self, cookie: &str, given: &str) -> bool {
        self.form_token(cookie).as_bytes().ct_eq(given.as_bytes()).into()
    }
}

/// A session that begins now; `sign_in::begin` opens it.
pub fn session_of(account: AccountId, token: Digest, source: Source, now: Timestamp) -> BrowserSession {
    BrowserSession { token, account, created_at: now, seen_at: now, authenticated_at: now, source }
}

/// Ends all of an account's program sessions, within the caller's transaction: a new password, "sign out everywhere".
pub(super) fn end_all(tx: &mut dyn Write, account: AccountId) -> Result<(), StoreError> {
    for session in tx.program_sessions().of_account(account)? {
        tx.erase(&session);
    }
    Ok(())
}

/// All browsers of an account, those included whose session is over and not swept yet.
pub fn sessions_of(tx: &dyn Read, account: AccountId) -> Result<Vec<BrowserSession>, StoreError> {
    tx.browser_sessions().of_account(account)
}

/// Ends all that is signed in to an account, within the caller's transaction.
pub fn end_sessions(tx: &mut dyn Write, account: AccountId) -> Result<(), StoreError> {
    tx.takes_away();
    for session in sessions_of(tx, account)? {
        tx.erase(&session);
    }
    end_tickets(tx, account)?;
    end_all(tx, account)
}
