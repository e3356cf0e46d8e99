//! Accounts are made: by whoever runs the deployment, or by sign-up. How humans come in again: `sign_in`.

use crate::{
    api::error::Error,
    domain::{
        account::Account,
        activity::EventKind,
        id::AccountId,
        idempotency::Outcome,
        name::Email,
        secret::{Password, SessionToken},
        source::Source,
        throttle::Throttle,
    },
    service::{
        accounts::state::Accounts,
        accounts::{hash_queue::Lane, setup_code::OPERATOR},
        idempotency::{Operation, Turn},
        record_event::record,
        throttle::{charge_throttles, check_throttles},
    },
};

/// An account to be made.
pub struct NewAccount<'a> {
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

impl Accounts {
    /// Makes an account. Its e-mail is an unverified name.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: an e-mail or a password that can't be one.
    /// * [`Error::Conflict`]: the e-mail has an account.
    /// * [`Error::Busy`]: too many passwords wait to be hashed.
    pub async fn create_account(&self, email: &str, password: Password, operator: bool, verified: bool) -> Result<AccountId, Error> {
        self.create_account_once(email, password, operator, verified, Operation::default()).await
    }

    /// The same for whoever runs this computer.
    ///
    /// # Errors
    /// As [`Self::create_account`].
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

    /// Makes an account for whoever was let so far. The password is judged before anything is looked up, and hashed before
    /// anything is changed: the transaction itself is short.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: an e-mail or a password that can't be one.
    /// * [`Error::Conflict`]: the e-mail has an account. [`Error::WrongCode`]: it was to be the first operator, and there is one.
    /// * [`Error::Busy`]: too many passwords wait to be hashed.
    pub(super) async fn create(&self, new: NewAccount<'_>) -> Result<Account, Error> {
        let NewAccount { operator, first, verified, lane, source, .. } = new;
        let email: Email = new.email.parse().map_err(|error| Error::invalid("email", format!("is {error}")))?;
        let password = self.judged(lane, &source, new.password, email.clone()).await?;
        let Turn { runtime, note, done } = self.context.begin(new.operation).await?;
        if let Some(Outcome::Account { account }) = done {
            return self.context.store.read(|tx| tx.accounts().get(account)).await?.ok_or_else(|| Error::not_found("account"));
        }
        let place = self.hash_queue.place(lane, &source).await?;
        let hash = self.hash_new(place, password, runtime.bytes()).await?;
        let now = runtime.now();
        let id = AccountId::new(now, runtime.bytes());
        let random = runtime.bytes();
        self.context
            .store
            .write(move |tx| {
                if first && tx.setting::<bool>(OPERATOR)? == Some(true) {
                    return Err(Error::WrongCode);
                }
                if tx.accounts().by_email(&email)?.is_some() {
                    return Err(Error::Conflict { detail: "an account with this e-mail exists".to_owned() });
                }
                if operator {
                    tx.save_setting(OPERATOR, &true)?;
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
                tx.save(&account)?;
                record(tx, id, None, EventKind::SignedUp, now, random)?;
                note.put(tx, Outcome::Account { account: id })?;
                Ok::<_, Error>(account)
            })
            .await
    }

    /// Sign-up from a page: limited per source, and only where the configuration lets people in.
    ///
    /// # Errors
    /// As [`Self::create_account`]; and [`Error::Forbidden`] where sign-up is closed, [`Error::TooMany`] past an address's limit.
    pub async fn sign_up(&self, email: &str, password: Password, source: Source) -> Result<SessionToken, Error> {
        if !self.context.config.signup_is_open() {
            return Err(Error::Forbidden { detail: "sign-up is closed: ask whoever runs this service for an account".to_owned() });
        }
        let named = email.parse::<Email>().map_err(|error| Error::invalid("email", format!("is {error}")))?;
        // A slip costs no sign-up: what is wrong with the password is said first.
        let password = self.judged(Lane::Anybody, &source, password, named).await?;
        let (now, limits) = (self.context.runtime.now(), Throttle::signups(&source));
        self.context
            .store
            .write(move |tx| {
                check_throttles(tx, &limits, now, "too many sign-ups from this address: wait an hour")?;
                Ok::<_, Error>(charge_throttles(tx, &limits, now)?)
            })
            .await?;
        let account = self.create(NewAccount::of(email, password, source)).await?;
        self.open_session(&account, source).await
    }

    /// The account with this e-mail, in whatever case it is written.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no e-mail, [`Error::NotFound`] where nobody has it.
    pub async fn account_by_email(&self, email: &str) -> Result<Account, Error> {
        let email: Email = email.parse().map_err(|error| Error::invalid("account", format!("is {error}")))?;
        self.context.store.read(|tx| tx.accounts().by_email(&email)).await?.ok_or_else(|| Error::not_found("account"))
    }
}
