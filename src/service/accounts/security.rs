//! What lets an account's owner in: its password, and the browsers that are signed in.

use crate::{
    api::error::Error,
    domain::{
        activity::EventKind,
        secret::{Password, SessionToken},
        server_secret::Purpose,
        session::BrowserSession,
        source::Source,
    },
    service::{
        accounts::{
            hash_queue::Lane,
            sessions::{end_sessions, session_of, sessions_of},
            sign_in::{begin, still_proven},
            state::Accounts,
        },
        fresh_sign_in::signed_in,
        record_event::record,
    },
    store::access::Read,
};
use jiff::Timestamp;

/// A signed-in browser, as its human sees it.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Its public name.
    pub id: String,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    pub source: Source,
    /// The one that asks.
    pub this: bool,
}

impl Accounts {
    /// A session's public name: derived, and neither its token nor the hash the token is stored by.
    pub fn browser_id(&self, session: &BrowserSession) -> String {
        let mut id = self.context.secret.tag(Purpose::SessionName, session.token.as_bytes());
        id.truncate(22);
        id
    }

    /// The account's live browser sessions: the asking one first, then the latest seen.
    ///
    /// # Errors
    /// [`Error::SignInNeeded`]: the asking one is over.
    pub async fn browsers(&self, session: &BrowserSession) -> Result<Vec<Browser>, Error> {
        let now = self.context.runtime.now();
        let read = |tx: &dyn Read| {
            signed_in(tx, session.token, now)?;
            Ok::<_, Error>(sessions_of(tx, session.account)?)
        };
        let mut sessions = self.context.store.read(read).await?;
        sessions.retain(|session| session.is_live(now));
        sessions.sort_by_key(|other| (other.token != session.token, std::cmp::Reverse(other.seen_at)));
        let view = |other: &BrowserSession| Browser {
            id: self.browser_id(other),
            created_at: other.created_at,
            seen_at: other.seen_at,
            source: other.source,
            this: other.token == session.token,
        };
        Ok(sessions.iter().map(view).collect())
    }

    /// Signs one browser of the account out. Another account's is as unknown as one that never was.
    ///
    /// # Errors
    /// [`Error::NotFound`]: the account has no such browser. [`Error::SignInNeeded`]: the asking one is over.
    pub async fn end_browser(&self, session: &BrowserSession, id: &str, source: Source) -> Result<(), Error> {
        let (account, token) = (session.account, session.token);
        let sessions = self.context.store.read(|tx| sessions_of(tx, account)).await?;
        let ended = sessions.into_iter().find(|other| self.browser_id(other) == id).ok_or_else(|| Error::not_found("session"))?;
        let (now, random) = (self.context.runtime.now(), self.context.runtime.bytes());
        self.context
            .store
            .write(move |tx| {
                tx.takes_away();
                signed_in(tx, token, now)?;
                tx.erase(&ended);
                Ok::<_, Error>(record(tx, account, Some(source), EventKind::BrowserSignedOut, now, random)?)
            })
            .await
    }

    /// Ends every session of the account, this one too.
    ///
    /// # Errors
    /// [`Error::SignInNeeded`]: the asking one is over.
    pub async fn sign_out_everywhere(&self, session: &BrowserSession, source: Source) -> Result<(), Error> {
        let (now, random, account, token) = (self.context.runtime.now(), self.context.runtime.bytes(), session.account, session.token);
        self.context
            .store
            .write(move |tx| {
                signed_in(tx, token, now)?;
                end_sessions(tx, account)?;
                Ok::<_, Error>(record(tx, account, Some(source), EventKind::SignedOutEverywhere, now, random)?)
            })
            .await
    }

    /// Sets a new password for who knows the present one. Every session ends; the returned token is a new one's.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: the new one would be guessed.
    /// * [`Error::WrongPassword`], [`Error::TooMany`], [`Error::Busy`]: of the present one, as for [`Self::sign_in`].
    /// * [`Error::Conflict`]: the account has no password.
    /// * [`Error::SignInNeeded`]: the session is over.
    pub async fn change_password(
        &self,
        session: &BrowserSession,
        current: Password,
        new: Password,
        source: Source,
    ) -> Result<SessionToken, Error> {
        let (of, at) = (session.token, self.context.runtime.now());
        let (_, account) = self.context.store.read(|tx| signed_in(tx, of, at)).await?;
        if account.password.is_none() {
            return Err(Error::Conflict { detail: "this account has no password: it signs in elsewhere".to_owned() });
        }
        // A slip costs no attempt: what is wrong with the new one is said first.
        let new = self.judged(Lane::SignedIn, &source, new, account.email.clone()).await?;
        self.check_own_password(session, &account, current, &source).await?;
        let place = self.hash_queue.place(Lane::SignedIn, &source).await?;
        let hash = self.hash_new(place, new, self.context.runtime.bytes()).await?;
        let token = SessionToken::new(self.context.runtime.bytes());
        let (now, randoms) = (self.context.runtime.now(), [self.context.runtime.bytes(), self.context.runtime.bytes()]);
        let next = session_of(account.id, self.session_hash(&token), source, now);
        self.context
            .store
            .write(move |tx| {
                signed_in(tx, of, now)?;
                // Somebody else was faster: what was proven is no longer the password.
                let mut account = still_proven(tx, &account)?;
                account.password = Some(hash.clone());
                tx.save(&account)?;
                end_sessions(tx, account.id)?;
                record(tx, account.id, Some(source), EventKind::PasswordChanged, now, randoms[0])?;
                Ok::<_, Error>(begin(tx, &next, randoms[1])?)
            })
            .await?;
        Ok(token)
    }
}
