//! The first start: a printed code makes the operator account, once.

use crate::{
    api::error::Error,
    domain::{
        key_stream::KeyStream,
        secret::{Password, SessionToken},
        server_secret::Purpose,
        source::Source,
        throttle::Throttle,
        time::after,
        user_code::UserCode,
    },
    service::{
        accounts::{
            create::NewAccount,
            setup_code::{OPERATOR, SetupCode, State},
            state::Accounts,
        },
        errors::OpenError,
        throttle::{charge_throttles, check_throttles},
    },
    store::error::StoreError,
};
use jiff::{SignedDuration, Timestamp};

const SETUP_TTL: SignedDuration = SignedDuration::from_hours(1);

impl Accounts {
    /// Whether somebody runs this deployment already.
    pub async fn has_operator(&self) -> Result<bool, StoreError> {
        Ok(self.context.store.read(|tx| tx.setting::<bool>(OPERATOR)).await?.unwrap_or(false))
    }

    /// A set-up code, if there is no operator yet: for the first start to print.
    pub async fn offer_setup(&self) -> Result<Option<(String, Timestamp)>, OpenError> {
        if self.has_operator().await? {
            return Ok(None);
        }
        let mut stream = KeyStream::fresh(self.context.runtime.bytes());
        let code = UserCode::new(|| stream.byte());
        let expires_at = after(self.context.runtime.now(), SETUP_TTL);
        let hash = self.context.secret.hash(Purpose::SetupCode, code.letters().as_bytes());
        *self.setup.state() = State::Open(SetupCode { hash, expires_at });
        Ok(Some((code.expose(), expires_at)))
    }

    /// Whether a code was printed that makes its bearer the operator.
    pub fn awaits_setup(&self) -> bool {
        !matches!(*self.setup.state(), State::Closed)
    }

    /// Makes the operator account with the code the server printed, once.
    ///
    /// # Errors
    /// * [`Error::Invalid`]: a code, an e-mail or a password that can't be one.
    /// * [`Error::WrongCode`]: not the printed code, or its hour is over, or somebody else was first.
    /// * [`Error::TooMany`]: an address's guesses at this code are used up, whether this one is right or not.
    pub async fn set_up(&self, code: &str, email: &str, password: Password, source: Source) -> Result<SessionToken, Error> {
        let now = self.context.runtime.now();
        let code: UserCode = code.parse().map_err(|()| Error::unreadable_code())?;
        let given = self.context.secret.hash(Purpose::SetupCode, code.letters().as_bytes());
        // Guesses are counted per code, so that a restart, which prints a fresh one, lets a locked-out owner in.
        let round = match &*self.setup.state() {
            State::Open(code) => code.expires_at.as_millisecond(),
            State::Taken | State::Closed => 0,
        };
        let taken = self.setup.take(&given, now);
        let (right, limits) = (taken.is_some(), Throttle::setup_codes(&source, round));
        self.context
            .store
            .write(move |tx| {
                check_throttles(tx, &limits, now, "too many wrong set-up codes: wait an hour, or restart the server")?;
                if right { Ok(Ok(())) } else { charge_throttles(tx, &limits, now).map(|()| Err(Error::WrongCode)).map_err(Error::from) }
            })
            .await??;
        let account = self.create(NewAccount { operator: true, first: true, ..NewAccount::of(email, password, source) }).await?;
        self.open_session(&account, source).await
    }
}
