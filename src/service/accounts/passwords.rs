//! Passwords: hashed, compared, judged, set anew.

use crate::{
    api::{accounts::AccountView, error::Error},
    domain::{idempotency::Outcome, name::Email, secret::Password, source::Source},
    service::{
        accounts::{
            find::view,
            hash_queue::{Hashing, Lane, Place},
            sessions::end_sessions,
            state::Accounts,
        },
        idempotency::{Operation, Turn},
    },
};
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};

/// argon2id with the crate's defaults: 19 MiB, two passes (OWASP's first choice).
///
/// # Errors
/// When the library refuses its own parameters or this salt, which no input can bring about.
pub fn hash_password(password: &Password, salt: [u8; 16]) -> Result<String, argon2::password_hash::Error> {
    let hash = Argon2::default().hash_password_with_salt(password.normalised().as_bytes(), &salt)?;
    Ok(hash.to_string())
}

/// The hash of no password, as costly as a real one: what an unknown account's is checked against, so that both take the
/// same time.
pub fn decoy() -> String {
    let (m, t, p) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")
}

/// Whether the hash is of the password: as it is normalised, or, for those made before, as it was typed. Both are tried
/// whosever hash it is, so that an unknown account takes as long as a wrong password.
pub fn matches(password: &Password, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    password.forms().iter().any(|form| Argon2::default().verify_password(form.as_bytes(), &hash).is_ok())
}

impl Accounts {
    /// A password somebody chose, if it is a good one. Judging it takes time, so it takes a place, too.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is wrong with the password, [`Error::Busy`] that too many wait for a place.
    pub(super) async fn judged(&self, lane: Lane, source: &Source, password: Password, email: Email) -> Result<Password, Error> {
        let refused = |detail: String| Error::invalid("password", detail);
        password.fits().map_err(refused)?;
        let (place, service) = (self.hash_queue.place(lane, source).await?, self.context.config.service_name.clone());
        let judge = move || password.is_hard_to_guess(&email, &service).map(|()| password);
        Hashing::run(place, judge).await?.map_err(|detail| refused(detail.to_owned()))
    }

    /// The PHC string of a password that was [judged](Self::judged), made on a thread that serves nobody.
    pub(super) async fn hash_new(&self, place: Place, judged: Password, salt: [u8; 16]) -> Result<String, Error> {
        Hashing::run(place, move || hash_password(&judged, salt)).await?.map_err(Error::internal)
    }

    /// Sets a new password and signs the account out everywhere.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: no e-mail, or a password that would be guessed.
    /// * [`Error::NotFound`]: nobody has this e-mail.
    pub async fn reset_password(&self, email: &str, password: Password, operation: Operation) -> Result<AccountView, Error> {
        let Turn { runtime, note, done } = self.context.begin(operation).await?;
        let account = self.account_by_email(email).await?;
        let password = self.judged(Lane::SignedIn, &Source::Local, password, account.email).await?;
        if done.is_some() {
            return self.find_account(email).await;
        }
        let (id, now) = (account.id, self.context.runtime.now());
        let place = self.hash_queue.place(Lane::SignedIn, &Source::Local).await?;
        let hash = self.hash_new(place, password, runtime.bytes()).await?;
        self.context
            .store
            .write(move |tx| {
                let mut account = tx.accounts().get(id)?.ok_or_else(|| Error::not_found("account"))?;
                account.password = Some(hash.clone());
                tx.save(&account)?;
                end_sessions(tx, id)?;
                note.put(tx, Outcome::Account { account: id })?;
                Ok::<_, Error>(view(tx, &account, now)?)
            })
            .await
    }
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
