//! Coming in with a password, and how often one may be wrong.
//!
//! Three things hold for every password that is asked for, on a page or by a program:
//! * **An unknown account is like a wrong password**: the same words, the same hashes, the same number of synced writes.
//! * **A guesser is stopped per account**, wherever he comes from, without a way to lock its owner out: all places the
//!   account does not know share one allowance ([`Throttle::refused_logins`]), each place it knows has its own.
//! * **What was proven is looked at again** in the transaction that opens the session, so that a sign-in with the old
//!   password that is under way while it changes opens nothing.

use crate::{
    api::error::Error,
    domain::{
        account::{Account, KnownPlaces},
        activity::EventKind,
        id::AccountId,
        name::Email,
        secret::{Password, SessionToken},
        session::BrowserSession,
        source::Source,
        throttle::Throttle,
    },
    service::{
        accounts::{
            hash_queue::{Hashing, Lane, Place},
            passwords::{decoy, matches},
            sessions::{session_of, sessions_of},
            state::Accounts,
        },
        active_account::active_account,
        record_event::record,
        throttle::{charge_throttles, check_throttles},
    },
    store::{
        access::{Read, Write},
        error::StoreError,
    },
};
use jiff::Timestamp;

const TOO_MANY: &str = "too many attempts to sign in: wait, or sign in where you have signed in before";

impl Accounts {
    /// Signs in. Unknown account and wrong password look and take the same.
    ///
    /// # Errors
    /// * [`Error::WrongPassword`]: or no such account, or a disabled one.
    /// * [`Error::TooMany`]: the account's or the address's attempts are used up.
    /// * [`Error::Busy`]: too many passwords wait to be hashed.
    pub async fn sign_in(&self, email: &str, password: Password, source: Source) -> Result<SessionToken, Error> {
        let account = self.check_password(email, password, source).await?;
        self.open_session(&account, source).await
    }

    /// Whose e-mail and password these are. Every attempt is charged. Whoever acts on the answer looks in the same
    /// transaction whether the account's password is still the one that was checked.
    ///
    /// # Errors
    /// As [`Self::sign_in`].
    pub(super) async fn check_password(&self, email: &str, password: Password, source: Source) -> Result<Account, Error> {
        let email = email.parse::<Email>().map_err(|_| Error::WrongPassword)?;
        let now = self.context.runtime.now();
        // Looked at before a place is taken: who is over a limit makes nobody wait.
        let known = self
            .context
            .store
            .read(|tx| {
                let known = is_known_at(tx, &email, &source, now)?;
                check_throttles(tx, &Throttle::logins(email.as_str(), &source, known), now, TOO_MANY)?;
                check_throttles(tx, &[Throttle::refused_logins(email.as_str(), &source, known)], now, TOO_MANY)?;
                Ok::<_, Error>(known)
            })
            .await?;
        // Charged after a place is taken: who is turned away has not tried.
        let place = self.hash_queue.place(if known { Lane::Known } else { Lane::Anybody }, &source).await?;
        let (now, limits, whose) = (self.context.runtime.now(), Throttle::logins(email.as_str(), &source, known), email.clone());
        let refused = [Throttle::refused_logins(email.as_str(), &source, known)];
        let wrong = refused[0].clone();
        let account = self
            .context
            .store
            .write(move |tx| {
                check_throttles(tx, &limits, now, TOO_MANY)?;
                check_throttles(tx, &refused, now, TOO_MANY)?;
                charge_throttles(tx, &limits, now)?;
                Ok::<_, Error>(tx.accounts().by_email(&whose)?.filter(|account| account.disabled_at.is_none()))
            })
            .await?;
        let right = password_matches(place, account.as_ref(), password).await?;
        let id = account.as_ref().map(|account| account.id);
        if let (Some(account), true) = (account, right) {
            return Ok(account);
        }
        // One write more, whether or not there is such an account: a known one must not take longer to say no.
        let (now, random) = (self.context.runtime.now(), self.context.runtime.bytes());
        self.context
            .store
            .write(move |tx| {
                tx.charge(&wrong, now)?;
                id.map_or(Ok(()), |id| record(tx, id, Some(source), EventKind::SignInRefused, now, random))
            })
            .await?;
        Err(Error::WrongPassword)
    }

    /// The password of somebody who is signed in, before it is changed or something risky is done. Counted by session:
    /// a guesser with a stolen cookie takes nothing from its owner's other sessions, and gets a session nowhere else.
    ///
    /// # Errors
    /// As [`Self::sign_in`], with limits of the session's own.
    pub(super) async fn check_own_password(
        &self,
        session: &BrowserSession,
        account: &Account,
        password: Password,
        source: &Source,
    ) -> Result<(), Error> {
        const TOO_MANY: &str = "too many wrong passwords: wait, or sign out and in again";
        let name = self.browser_id(session);
        let limits = [Throttle::reauthentications(&name), Throttle::refused_reauthentications(&name)];
        let wrong = limits[1].clone();
        let place = self.hash_queue.place(Lane::SignedIn, source).await?;
        let now = self.context.runtime.now();
        self.context
            .store
            .write(move |tx| {
                check_throttles(tx, &limits, now, TOO_MANY)?;
                Ok::<_, Error>(tx.charge(&limits[0], now)?)
            })
            .await?;
        if password_matches(place, Some(account), password).await? {
            return Ok(());
        }
        let now = self.context.runtime.now();
        self.context.store.write(move |tx| tx.charge(&wrong, now)).await?;
        Err(Error::WrongPassword)
    }

    /// Opens a browser's session for an account as it was when it proved itself.
    ///
    /// # Errors
    /// [`Error::WrongPassword`]: the password was changed, or the account disabled, since it was checked.
    pub(super) async fn open_session(&self, proven: &Account, source: Source) -> Result<SessionToken, Error> {
        let token = SessionToken::new(self.context.runtime.bytes());
        let (now, random) = (self.context.runtime.now(), self.context.runtime.bytes());
        let session = session_of(proven.id, self.session_hash(&token), source, now);
        let proven = proven.clone();
        self.context
            .store
            .write(move |tx| {
                still_proven(tx, &proven)?;
                Ok::<_, Error>(begin(tx, &session, random)?)
            })
            .await?;
        Ok(token)
    }
}

/// What was proven may no longer be the password: the account as it is now, if it is.
///
/// # Errors
/// [`Error::WrongPassword`]: it is another one by now, or the account is disabled.
pub fn still_proven(tx: &dyn Read, proven: &Account) -> Result<Account, Error> {
    let account = active_account(tx, proven.id).map_err(|_| Error::WrongPassword)?;
    if account.password == proven.password { Ok(account) } else { Err(Error::WrongPassword) }
}

/// Begins a browser's session, within the caller's transaction.
pub fn begin(tx: &mut dyn Write, session: &BrowserSession, random: [u8; 16]) -> Result<(), StoreError> {
    tx.save(session)?;
    remember_place(tx, session.account, &session.source, session.created_at)?;
    record(tx, session.account, Some(session.source), EventKind::SignedIn, session.created_at, random)
}

/// Notes that an account was signed in to from there.
pub fn remember_place(tx: &mut dyn Write, account: AccountId, source: &Source, now: Timestamp) -> Result<(), StoreError> {
    let mut places = tx.known_places().of_account(account)?.unwrap_or_else(|| KnownPlaces::none(account));
    places.add(source, now);
    tx.save(&places)
}

/// Whether the account was signed in to from there before. This computer is known to every account, also to those that
/// are none.
fn is_known_at(tx: &dyn Read, email: &Email, source: &Source, now: Timestamp) -> Result<bool, StoreError> {
    if source.is_this_computer() {
        return Ok(true);
    }
    let Some(account) = tx.accounts().by_email(email)? else { return Ok(false) };
    let remembered = tx.known_places().of_account(account.id)?.is_some_and(|places| places.hold(source, now));
    // Sessions from before places were remembered.
    let open = || sessions_of(tx, account.id);
    Ok(remembered || open()?.iter().any(|session| session.is_live(now) && KnownPlaces::are_one(&session.source, source)))
}

async fn password_matches(place: Place, account: Option<&Account>, password: Password) -> Result<bool, Error> {
    let stored = account.and_then(|account| account.password.clone());
    let known = stored.is_some();
    let hash = stored.unwrap_or_else(decoy);
    Ok(Hashing::run(place, move || matches(&password, &hash)).await? && known)
}
