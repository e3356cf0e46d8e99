//! Who humans are: accounts and their passwords, sign-up, sessions. How they come in again: [`super::sign_in`].

use super::{
    Error, Operation, Service, acting, charge_all,
    hashing::{Hashing, Lane, Place},
    operation::Turn,
    record,
    security::end_sessions,
    setup::OPERATOR,
    used_up,
    view::AccountView,
};
use crate::{
    domain::{
        account::{Account, Session},
        activity::What,
        id::AccountId,
        limit::Limit,
        name::Email,
        operation::Outcome,
        secret::{Digest, Password, Purpose, SessionToken},
        source::Source,
    },
    store::rows,
};
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use jiff::Timestamp;
use subtle::ConstantTimeEq;

/// argon2id with the crate's defaults: 19 MiB, two passes (OWASP's first choice).
pub fn hash_password(password: &Password, salt: [u8; 16]) -> Result<String, argon2::password_hash::Error> {
    let hash = Argon2::default().hash_password_with_salt(password.normalised().as_bytes(), &salt)?;
    Ok(hash.to_string())
}

/// The hash of no password, as costly as a real one: what an unknown account's is checked against, so that both take the
/// same time.
pub(super) fn decoy() -> String {
    let (m, t, p) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")
}

/// Whether the hash is of the password: as it is normalised, or, for those made before, as it was typed. Both are tried
/// whosever hash it is, so that an unknown account takes as long as a wrong password.
pub(super) fn matches(password: &Password, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    password.forms().iter().any(|form| Argon2::default().verify_password(form.as_bytes(), &hash).is_ok())
}

/// An account to be made.
pub(super) struct NewAccount<'a> {
    pub email: &'a str,
    pub password: Password,
    pub operator: bool,
    /// Only if there is no operator yet.
    pub first: bool,
    pub verified: bool,
    pub operation: Operation,
    pub lane: Lane,
    pub source: Source,
}

impl<'a> NewAccount<'a> {
    /// Made by its human, from there.
    pub fn of(email: &'a str, password: Password, source: Source) -> Self {
        let operation = Operation::default();
        Self { email, password, operator: false, first: false, verified: false, operation, lane: Lane::Anybody, source }
    }
}

impl Service {
    /// Makes an account. Its e-mail is an unverified name.
    pub async fn create_account(&self, email: &str, password: Password, operator: bool, verified: bool) -> Result<AccountId, Error> {
        self.create_account_once(email, password, operator, verified, Operation::default()).await
    }

    /// The same for whoever runs this computer.
    pub async fn create_account_once(
        &self,
        email: &str,
        password: Password,
        operator: bool,
        verified: bool,
        operation: Operation,
    ) -> Result<AccountId, Error> {
        let new = NewAccount { operator, verified, operation, lane: Lane::SignedIn, ..NewAccount::of(email, password, Source::Local) };
        self.create(new).await.map(|account| account.id)
    }

    pub(super) async fn create(&self, new: NewAccount<'_>) -> Result<Account, Error> {
        let NewAccount { operator, first, verified, lane, source, .. } = new;
        let email: Email = new.email.parse().map_err(|error| Error::invalid("email", format!("is {error}")))?;
        let password = self.judged(lane, &source, new.password, email.clone()).await?;
        let Turn { world, note, done } = self.turn(new.operation).await?;
        if let Some(Outcome::Account { account }) = done {
            return self.store.read(|rows| rows::account(rows, account)).await?.ok_or_else(|| Error::not_found("account"));
        }
        let place = self.hashing.place(lane, &source).await?;
        let hash = self.hash_new(place, password, world.bytes()).await?;
        let now = world.now();
        let id = AccountId::new(now, world.bytes());
        let random = world.bytes();
        self.store
            .write(move |rows| {
                if first && rows::meta::<bool>(rows, OPERATOR)? == Some(true) {
                    return Err(Error::WrongCode);
                }
                if rows::account_by_email(rows, &email)?.is_some() {
                    return Err(Error::Conflict { detail: "an account with this e-mail exists".to_owned() });
                }
                if operator {
                    rows::save_meta(rows, OPERATOR, &true)?;
                }
                let account = Account {
                    id,
                    email: email.clone(),
                    email_verified: verified,
                    password: Some(hash.clone()),
                    operator,
                    plan: "free".to_owned(),
                    external_id: None,
                    created_at: now,
                    disabled_at: None,
                };
                rows::save(rows, &account)?;
                record(rows, id, None, What::SignedUp, now, random)?;
                note.put(rows, Outcome::Account { account: id })?;
                Ok::<_, Error>(account)
            })
            .await
    }

    /// A password somebody chose, if it is a good one. Judging it takes time, so it takes a place, too.
    pub(super) async fn judged(&self, lane: Lane, source: &Source, password: Password, email: Email) -> Result<Password, Error> {
        let refused = |detail: String| Error::invalid("password", detail);
        password.fits().map_err(refused)?;
        let (place, service) = (self.hashing.place(lane, source).await?, self.config.service_name.clone());
        let judge = move || password.is_hard_to_guess(&email, &service).map(|()| password);
        Hashing::run(place, judge).await?.map_err(|detail| refused(detail.to_owned()))
    }

    pub(super) async fn hash_new(&self, place: Place, judged: Password, salt: [u8; 16]) -> Result<String, Error> {
        Hashing::run(place, move || hash_password(&judged, salt)).await?.map_err(Error::internal)
    }

    /// Sets a new password and signs the account out everywhere.
    pub async fn reset_password(&self, email: &str, password: Password, operation: Operation) -> Result<AccountView, Error> {
        let Turn { world, note, done } = self.turn(operation).await?;
        let account = self.account_by_email(email).await?;
        let password = self.judged(Lane::SignedIn, &Source::Local, password, account.email).await?;
        if done.is_some() {
            return self.find_account(email).await;
        }
        let (id, now) = (account.id, self.world.now());
        let place = self.hashing.place(Lane::SignedIn, &Source::Local).await?;
        let hash = self.hash_new(place, password, world.bytes()).await?;
        self.store
            .write(move |rows| {
                let mut account = rows::account(rows, id)?.ok_or_else(|| Error::not_found("account"))?;
                account.password = Some(hash.clone());
                rows::save(rows, &account)?;
                end_sessions(rows, id)?;
                note.put(rows, Outcome::Account { account: id })?;
                Ok::<_, Error>(super::operator::view(rows, &account, now)?)
            })
            .await
    }

    /// Sign-up from a page: limited per source, and only where the configuration lets people in.
    pub async fn sign_up(&self, email: &str, password: Password, source: Source) -> Result<SessionToken, Error> {
        if !self.config.signup_is_open() {
            return Err(Error::Forbidden { detail: "sign-up is closed: ask whoever runs this service for an account".to_owned() });
        }
        let named = email.parse::<Email>().map_err(|error| Error::invalid("email", format!("is {error}")))?;
        // A slip costs no sign-up: what is wrong with the password is said first.
        let password = self.judged(Lane::Anybody, &source, password, named).await?;
        let (now, limits) = (self.world.now(), Limit::signups(&source));
        self.store
            .write(move |rows| {
                used_up(rows, &limits, now, "too many sign-ups from this address: wait an hour")?;
                Ok::<_, Error>(charge_all(rows, &limits, now)?)
            })
            .await?;
        let account = self.create(NewAccount::of(email, password, source)).await?;
        self.open_session(&account, source).await
    }

    pub(super) fn session_hash(&self, token: &SessionToken) -> Digest {
        self.secret.hash(Purpose::Session, token.expose().as_bytes())
    }

    /// The live session of a presented cookie, with its account. Unknown tokens are never adopted.
    pub async fn session(&self, token: &SessionToken) -> Result<Option<(Session, Account)>, Error> {
        let (hash, now) = (self.session_hash(token), self.world.now());
        let found = self
            .store
            .read(|rows| {
                let Some(session) = rows::load::<Session>(rows, hash.as_bytes())? else { return Ok(None) };
                Ok::<_, Error>(acting(rows, session.account).ok().map(|account| (session, account)))
            })
            .await?;
        if found.as_ref().is_some_and(|(session, _)| !session.is_live(now)) {
            self.note_end(now).await;
            return Ok(None);
        }
        if let Some((session, _)) = &found
            && now.duration_since(session.seen_at) >= Session::SEEN_STEP
        {
            self.store
                .write(move |rows| {
                    if let Some(mut session) = rows::load::<Session>(rows, hash.as_bytes())? {
                        session.seen_at = now;
                        rows::save(rows, &session)?;
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
        self.store
            .write(move |rows| {
                rows.takes_away();
                if let Some(session) = rows::load::<Session>(rows, hash.as_bytes())? {
                    rows::erase(rows, &session);
                }
                Ok::<_, Error>(())
            })
            .await
    }

    /// The token every form of a browser carries, bound to its cookie.
    pub fn form_token(&self, cookie: &str) -> String {
        self.secret.tag(Purpose::Csrf, cookie.as_bytes())
    }

    pub fn form_token_is_right(&self, cookie: &str, given: &str) -> bool {
        self.form_token(cookie).as_bytes().ct_eq(given.as_bytes()).into()
    }

    pub async fn account_by_email(&self, email: &str) -> Result<Account, Error> {
        let email: Email = email.parse().map_err(|error| Error::invalid("account", format!("is {error}")))?;
        self.store.read(|rows| rows::account_by_email(rows, &email)).await?.ok_or_else(|| Error::not_found("account"))
    }
}

/// A session that begins now; [`super::sign_in::begin`] opens it.
pub(super) fn session_of(account: AccountId, token: Digest, source: Source, now: Timestamp) -> Session {
    Session { token, account, created_at: now, seen_at: now, authenticated_at: now, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_account_costs_as_much_as_a_known_one() {
        let real = hash_password(&Password::typed("correct horse".to_owned()), [7; 16]).unwrap();
        let (real, decoy) = (PasswordHash::new(&real).unwrap(), decoy());
        let decoy = PasswordHash::new(&decoy).unwrap();
        assert_eq!((&decoy.algorithm, &decoy.version, &decoy.params), (&real.algorithm, &real.version, &real.params));
        assert_eq!(decoy.salt.map(|salt| salt.len()), real.salt.map(|salt| salt.len()));
        assert_eq!(decoy.hash.map(|hash| hash.len()), real.hash.map(|hash| hash.len()));
    }
}
