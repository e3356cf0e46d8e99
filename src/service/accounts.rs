//! Who humans are: set-up, sign-up, sign-in, sessions.

use super::{
    Error, OpenError, Operation, Service, acting, charge_all, operation::Turn, record, security::end_sessions, used_up, view::AccountView,
};
use crate::{
    domain::{
        account::{Account, Session},
        activity::What,
        id::AccountId,
        limit::Limit,
        name::Email,
        operation::Outcome,
        registration::UserCode,
        secret::{Digest, KeyStream, Password, Purpose, SessionToken},
        source::Source,
        time::after,
    },
    store::{StoreError, rows},
};
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use jiff::{SignedDuration, Timestamp};
use std::sync::PoisonError;
use subtle::ConstantTimeEq;
use tokio::sync::SemaphorePermit;

/// argon2 takes 19 MiB and a core each: more at once would be a way to stop the server.
pub const HASHES_AT_ONCE: usize = 4;
const SETUP_TTL: SignedDuration = SignedDuration::from_hours(1);

/// The one-time code that makes the operator account.
pub struct SetupCode {
    hash: Digest,
    expires_at: Timestamp,
}

/// argon2id with the crate's defaults: 19 MiB, two passes (OWASP's first choice).
pub fn hash_password(password: &Password, salt: [u8; 16]) -> Result<String, argon2::password_hash::Error> {
    let hash = Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt)?;
    Ok(hash.to_string())
}

/// The hash of no password, as costly as a real one: what an unknown account's is checked against, so that both take the
/// same time.
fn decoy() -> String {
    let (m, t, p) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")
}

fn matches(password: &Password, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
}

pub(super) fn acceptable(password: &Password) -> Result<(), Error> {
    if password.expose().chars().count() < Password::MIN_CHARS {
        return Err(Error::invalid("password", format!("must have at least {} characters", Password::MIN_CHARS)));
    }
    if password.expose().len() > Password::MAX_BYTES {
        return Err(Error::invalid("password", format!("must have at most {} bytes", Password::MAX_BYTES)));
    }
    Ok(())
}

impl Service {
    /// A place among those who hash. Taken before a limit is charged: who is turned away has not tried.
    pub(super) fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.hashing.try_acquire().map_err(|_| Error::Busy)
    }

    pub(super) async fn hashed<T: Send + 'static>(
        &self,
        _place: SemaphorePermit<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }

    /// Whether somebody runs this deployment already.
    pub async fn has_operator(&self) -> Result<bool, StoreError> {
        Ok(self.store.read(|rows| rows::meta::<bool>(rows, "operator")).await?.unwrap_or(false))
    }

    /// A set-up code, if there is no operator yet: for the first start to print.
    pub async fn offer_setup(&self) -> Result<Option<(String, Timestamp)>, OpenError> {
        if self.has_operator().await? {
            return Ok(None);
        }
        let mut stream = KeyStream::fresh(self.world.bytes());
        let code = UserCode::new(|| stream.byte());
        let expires_at = after(self.world.now(), SETUP_TTL);
        let hash = self.secret.hash(Purpose::SetupCode, code.letters().as_bytes());
        *self.setup.lock().unwrap_or_else(PoisonError::into_inner) = Some(SetupCode { hash, expires_at });
        Ok(Some((code.expose(), expires_at)))
    }

    pub fn awaits_setup(&self) -> bool {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Makes the operator account with the code the server printed, once.
    pub async fn set_up(&self, code: &str, email: &str, password: Password, source: Source) -> Result<SessionToken, Error> {
        let now = self.world.now();
        // Guesses are counted per code, so that a restart, which prints a fresh one, lets a locked-out owner in.
        let round = self.setup.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |setup| setup.expires_at.as_millisecond());
        // Taken at once, so that of two who come together one is late; given back if no account came of it.
        let taken = code.parse::<UserCode>().ok().and_then(|code| {
            let given = self.secret.hash(Purpose::SetupCode, code.letters().as_bytes());
            let mut setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
            setup.take_if(|setup| setup.hash == given && now < setup.expires_at)
        });
        let (right, limit) = (taken.is_some(), Limit::setup_codes(&source, round));
        let allowed = self.store.write(move |rows| {
            used_up(rows, std::slice::from_ref(&limit), now, "too many wrong set-up codes: wait an hour, or restart the server")?;
            if right { Ok(Ok(())) } else { rows::charge(rows, &limit, now).map(|()| Err(Error::WrongCode)).map_err(Error::from) }
        });
        let created = async {
            allowed.await??;
            self.create_account(email, password, true, false).await
        };
        let account = created.await.inspect_err(|_| {
            if let Some(taken) = taken {
                self.setup.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(taken);
            }
        })?;
        self.open_session(account, source).await
    }

    /// Makes an account. Its e-mail is an unverified name.
    pub async fn create_account(&self, email: &str, password: Password, operator: bool, verified: bool) -> Result<AccountId, Error> {
        self.create_account_once(email, password, operator, verified, Operation::default()).await
    }

    pub async fn create_account_once(
        &self,
        email: &str,
        password: Password,
        operator: bool,
        verified: bool,
        operation: Operation,
    ) -> Result<AccountId, Error> {
        let email: Email = email.parse().map_err(|error| Error::invalid("email", format!("is {error}")))?;
        acceptable(&password)?;
        let Turn { world, note, done } = self.turn(operation).await?;
        if let Some(Outcome::Account { account }) = done {
            return Ok(account);
        }
        let (now, salt) = (world.now(), world.bytes());
        let hash = self.hashed(self.place()?, move || hash_password(&password, salt)).await?.map_err(Error::internal)?;
        let id = AccountId::new(now, world.bytes());
        let random = world.bytes();
        let created = self
            .store
            .write(move |rows| {
                if rows::account_by_email(rows, &email)?.is_some() {
                    return Err(Error::Conflict { detail: "an account with this e-mail exists".to_owned() });
                }
                if operator {
                    rows::save_meta(rows, "operator", &true)?;
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
                Ok::<_, Error>(id)
            })
            .await?;
        if operator {
            // However the operator came to be: the printed code is worth nothing from now on.
            *self.setup.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(created)
    }

    /// Sets a new password and signs the account out everywhere.
    pub async fn reset_password(&self, email: &str, password: Password, operation: Operation) -> Result<AccountView, Error> {
        acceptable(&password)?;
        let Turn { world, note, done } = self.turn(operation).await?;
        let account = self.account_by_email(email).await?;
        if done.is_some() {
            return self.find_account(email).await;
        }
        let (id, salt, now) = (account.id, world.bytes(), self.world.now());
        let hash = self.hashed(self.place()?, move || hash_password(&password, salt)).await?.map_err(Error::internal)?;
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
        email.parse::<Email>().map_err(|error| Error::invalid("email", format!("is {error}")))?;
        acceptable(&password)?;
        let (now, limit) = (self.world.now(), Limit::signups(&source));
        self.store
            .write(move |rows| {
                used_up(rows, std::slice::from_ref(&limit), now, "too many sign-ups from this address: wait an hour")?;
                Ok::<_, Error>(rows::charge(rows, &limit, now)?)
            })
            .await?;
        let account = self.create_account(email, password, false, false).await?;
        self.open_session(account, source).await
    }

    /// Signs in. Unknown account and wrong password look and take the same.
    pub async fn sign_in(&self, email: &str, password: Password, source: Source) -> Result<SessionToken, Error> {
        let account = self.check_password(email, password, source).await?;
        self.open_session(account.id, source).await
    }

    /// Whose e-mail and password these are. Every attempt is charged; unknown account and wrong password take the same.
    pub(super) async fn check_password(&self, email: &str, password: Password, source: Source) -> Result<Account, Error> {
        let email = email.parse::<Email>().map_err(|_| Error::WrongPassword)?;
        let place = self.place()?;
        self.charge_login(Limit::logins(email.as_str(), &source)).await?;
        let account = self.store.read(|rows| rows::account_by_email(rows, &email)).await?.filter(|account| account.disabled_at.is_none());
        let right = self.password_matches(place, account.as_ref(), password).await?;
        let Some(account) = account else { return Err(Error::WrongPassword) };
        if !right {
            let (now, random, id) = (self.world.now(), self.world.bytes(), account.id);
            self.store.write(move |rows| record(rows, id, Some(source), What::SignInRefused, now, random)).await?;
            return Err(Error::WrongPassword);
        }
        Ok(account)
    }

    pub(super) async fn charge_login(&self, limits: Vec<Limit>) -> Result<(), Error> {
        let now = self.world.now();
        self.store
            .write(move |rows| {
                used_up(rows, &limits, now, "too many attempts to sign in: wait a quarter of an hour")?;
                Ok::<_, Error>(charge_all(rows, &limits, now)?)
            })
            .await
    }

    pub(super) async fn password_matches(
        &self,
        place: SemaphorePermit<'_>,
        account: Option<&Account>,
        password: Password,
    ) -> Result<bool, Error> {
        let stored = account.and_then(|account| account.password.clone());
        let known = stored.is_some();
        let hash = stored.unwrap_or_else(decoy);
        let fits = password.expose().len() <= Password::MAX_BYTES;
        Ok(self.hashed(place, move || fits && matches(&password, &hash)).await? && known)
    }

    pub(super) async fn open_session(&self, account: AccountId, source: Source) -> Result<SessionToken, Error> {
        let token = SessionToken::new(self.world.bytes());
        let (now, random) = (self.world.now(), self.world.bytes());
        let session = session_of(account, self.session_hash(&token), source, now);
        self.store
            .write(move |rows| {
                rows::save(rows, &session)?;
                record(rows, account, Some(source), What::SignedIn, now, random)
            })
            .await?;
        Ok(token)
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
                let Some(session) = rows::load::<Session>(rows, hash.as_bytes())?.filter(|s| s.is_live(now)) else { return Ok(None) };
                Ok::<_, Error>(acting(rows, session.account).ok().map(|account| (session, account)))
            })
            .await?;
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

    /// The password again, before a risky approval. A right one makes the session fresh.
    pub(super) async fn check_password_again(&self, session: &Session, password: Option<Password>, source: Source) -> Result<(), Error> {
        let account = self.store.read(|rows| acting(rows, session.account)).await?;
        if account.password.is_none() {
            // Signed in by the service: that sign-in is what has to be fresh.
            return Err(Error::Forbidden {
                detail: "you signed in more than five minutes ago: come here from your service again, then approve".to_owned(),
            });
        }
        let password = password.ok_or_else(|| Error::invalid("password", "is needed again: you signed in more than five minutes ago"))?;
        let place = self.place()?;
        self.charge_login(Limit::reauthentications(account.id, &source)).await?;
        if !self.password_matches(place, Some(&account), password).await? {
            return Err(Error::WrongPassword);
        }
        let (token, now) = (session.token, self.world.now());
        self.store
            .write(move |rows| {
                if let Some(mut session) = rows::load::<Session>(rows, token.as_bytes())? {
                    session.authenticated_at = now;
                    rows::save(rows, &session)?;
                }
                Ok::<_, Error>(())
            })
            .await
    }

    /// Ends a session at once.
    pub async fn sign_out(&self, token: &SessionToken) -> Result<(), Error> {
        let hash = self.session_hash(token);
        self.store
            .write(move |rows| {
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

/// A session that begins now.
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
