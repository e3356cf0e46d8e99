//! The one-time code that makes the operator account, in memory.

use crate::{
    domain::digest::Digest,
    store::{
        access::Read,
        changes::{AtomicRevision, Commit, Follower, Revision},
        error::StoreError,
    },
};
use jiff::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The row that says that somebody runs this deployment.
pub const OPERATOR: &str = "operator";

/// The one-time code that makes the operator account.
pub struct SetupCode {
    pub hash: Digest,
    pub expires_at: Timestamp,
}

/// Where the first set-up is.
#[derive(Default)]
pub enum State {
    /// There is nothing to set up, or nothing more.
    #[default]
    Closed,
    Open(SetupCode),
    /// Somebody came with the right code a moment ago.
    Taken,
}

/// Whether this deployment waits for its operator.
#[derive(Default)]
pub struct Setup {
    state: Mutex<State>,
    revision: AtomicRevision,
}

impl Setup {
    /// Held for as long as it takes to look and change, never across an `await`.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the code away, so that of two who come together one is late.
    pub fn take(&self, given: &Digest, now: Timestamp) -> Option<Taken<'_>> {
        let mut state = self.state();
        let State::Open(code) = &*state else { return None };
        if code.hash != *given || now >= code.expires_at {
            return None;
        }
        let State::Open(code) = std::mem::replace(&mut *state, State::Taken) else { return None };
        Some(Taken { setup: self, code: Some(code) })
    }
}

/// However the operator came to be: the printed code is worth nothing from now on, even where whoever set up left before the
/// answer.
impl Follower for Setup {
    fn revision(&self) -> Revision {
        self.revision.get()
    }

    fn follow(&self, commit: &Commit) {
        self.revision.set(commit.revision);
        if commit.rows.iter().any(|row| row.is_setting(OPERATOR)) {
            *self.state() = State::Closed;
        }
    }

    fn restart(&self, tx: &dyn Read, revision: Revision) -> Result<(), StoreError> {
        if tx.setting::<bool>(OPERATOR)? == Some(true) {
            *self.state() = State::Closed;
        }
        self.revision.set(revision);
        Ok(())
    }
}

/// A code that was right. Given back unless an operator came of it, also when its human leaves in the middle.
pub struct Taken<'a> {
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
