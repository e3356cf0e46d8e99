//! The first start: a printed code makes the operator account, once.

use crate::{
    api::error::Error,
    domain::{
        digest::Digest,
        key_stream::KeyStream,
        secret::{Password, SessionToken},
        server_secret::Purpose,
        source::Source,
        throttle::Throttle,
        time::after,
        user_code::UserCode,
    },
    service::{accounts::create::NewAccount, context::Service, errors::OpenError, throttle::check_throttles},
    store::{changes::Changed, error::StoreError, rows, table::Table},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SETUP_TTL: SignedDuration = SignedDuration::from_hours(1);

/// The row that says that somebody runs this deployment.
pub const OPERATOR: &str = "operator";

/// The one-time code that makes the operator account.
struct SetupCode {
    hash: Digest,
    expires_at: Timestamp,
}

enum State {
    /// There is nothing to set up, or nothing more.
    Closed,
    Open(SetupCode),
    /// Somebody came with the right code a moment ago.
    Taken,
}

/// Whether this deployment waits for its operator.
pub struct Setup(Mutex<State>);

impl Default for Setup {
    fn default() -> Self {
        Self(Mutex::new(State::Closed))
    }
}

impl Setup {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// However the operator came to be: the printed code is worth nothing from now on. Told by the store, so that it
    /// holds even where whoever set up left before the answer.
    pub fn follow(&self, changed: &Changed<'_>) {
        let operator = match changed {
            Changed::Rows(rows) => rows.iter().any(|row| Table::Meta.own(&row.key) == Some(OPERATOR.as_bytes())),
            Changed::Everything(rows) => rows::meta::<bool>(*rows, OPERATOR).is_ok_and(|is| is == Some(true)),
        };
        if operator {
            *self.state() = State::Closed;
        }
    }

    /// Takes the code away, so that of two who come together one is late.
    fn take(&self, given: &Digest, now: Timestamp) -> Option<Taken<'_>> {
        let mut state = self.state();
        let State::Open(code) = &*state else { return None };
        if code.hash != *given || now >= code.expires_at {
            return None;
        }
        let State::Open(code) = std::mem::replace(&mut *state, State::Taken) else { return None };
        Some(Taken { setup: self, code: Some(code) })
    }
}

/// A code that was right. Given back unless an operator came of it, also when its human leaves in the middle.
struct Taken<'a> {
    setup: &'a Setup,
    code: Option<SetupCode>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.setup.state();
        if let (State::Taken, Some(code)) = (&*state, self.code.take()) {
            *state = State::Open(code);
        }
    }
}

impl Service {
    /// Whether somebody runs this deployment already.
    pub async fn has_operator(&self) -> Result<bool, StoreError> {
        Ok(self.store.read(|rows| rows::meta::<bool>(rows, OPERATOR)).await?.unwrap_or(false))
    }

    /// A set-up code, if there is no operator yet: for the first start to print.
    pub async fn offer_setup(&self) -> Result<Option<(String, Timestamp)>, OpenError> {
        if self.has_operator().await? {
            return Ok(None);
        }
        let mut stream = KeyStream::fresh(self.runtime.bytes());
        let code = UserCode::new(|| stream.byte());
        let expires_at = after(self.runtime.now(), SETUP_TTL);
        let hash = self.secret.hash(Purpose::SetupCode, code.letters().as_bytes());
        *self.setup.state() = State::Open(SetupCode { hash, expires_at });
        Ok(Some((code.expose(), expires_at)))
    }

    pub fn awaits_setup(&self) -> bool {
        !matches!(*self.setup.state(), State::Closed)
    }

    /// Makes the operator account with the code the server printed, once.
    pub async fn set_up(&self, code: &str, email: &str, password: Password, source: Source) -> Result<SessionToken, Error> {
        let now = self.runtime.now();
        let code: UserCode = code.parse().map_err(|()| Error::unreadable_code())?;
        let given = self.secret.hash(Purpose::SetupCode, code.letters().as_bytes());
        // Guesses are counted per code, so that a restart, which prints a fresh one, lets a locked-out owner in.
        let round = match &*self.setup.state() {
            State::Open(code) => code.expires_at.as_millisecond(),
            State::Taken | State::Closed => 0,
        };
        let taken = self.setup.take(&given, now);
        let (right, limits) = (taken.is_some(), Throttle::setup_codes(&source, round));
        self.store
            .write(move |rows| {
                check_throttles(rows, &limits, now, "too many wrong set-up codes: wait an hour, or restart the server")?;
                if right {
                    Ok(Ok(()))
                } else {
                    crate::service::throttle::charge_throttles(rows, &limits, now).map(|()| Err(Error::WrongCode)).map_err(Error::from)
                }
            })
            .await??;
        let account = self.create(NewAccount { operator: true, first: true, ..NewAccount::of(email, password, source) }).await?;
        self.open_session(&account, source).await
    }
}
