//! What an agent's poll is told, and how fast it may ask.

use crate::domain::{
    id::{KeyId, RegistrationId},
    pkce::CodeChallenge,
    registration::request::{Attempt, RegistrationRequest},
    secret::CodeVerifier,
};
use jiff::Timestamp;

/// Seconds that each `slow_down` adds to the interval (RFC 8628 §3.5).
pub const SLOW_DOWN_SECONDS: u16 = 5;
/// Seconds the interval grows to at most: an agent that polls too fast must still notice an approval in time.
pub const MAX_INTERVAL_SECONDS: u16 = 60;

/// What to do once codes have run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// The registration stands: a new attempt gives a fresh code.
    Claim,
    /// The registration is over.
    Register,
}

/// The answer to a poll, in the order of RFC 8628 §3.5 and the table "Polling" in `src/guide/http.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    WrongVerifier,
    Spent,
    Denied,
    /// Approved: deliver now.
    Deliver,
    /// Delivered, not yet used, within the minute: the same key again.
    Again {
        key: KeyId,
        salt: [u8; 32],
    },
    Expired(NextStep),
    SlowDown,
    Pending {
        interval: u16,
    },
}

/// What polls ask of a registration that waits for its human: small, so that many fit in memory.
#[derive(Debug, Clone)]
pub struct PollPace {
    pub id: RegistrationId,
    challenge: Option<CodeChallenge>,
    expires_at: Timestamp,
    code_expires_at: Timestamp,
    interval: u16,
}

impl PollPace {
    /// The part of a waiting registration that decides what a poll is answered.
    pub(crate) fn of(request: &RegistrationRequest, attempt: &Attempt, interval: u16) -> Self {
        let (expires_at, code_expires_at) = (request.expires_at, attempt.expires_at);
        Self { id: request.id, challenge: request.challenge.clone(), expires_at, code_expires_at, interval }
    }

    /// Step 5, as long as nobody decided.
    pub fn poll(&self, verifier: Option<&CodeVerifier>, too_early: bool, now: Timestamp) -> Poll {
        match self.interval {
            _ if !proven(self.challenge.as_ref(), verifier) => Poll::WrongVerifier,
            _ if now >= self.expires_at => Poll::Expired(NextStep::Register),
            _ if now >= self.code_expires_at => Poll::Expired(NextStep::Claim),
            _ if too_early => Poll::SlowDown,
            interval => Poll::Pending { interval },
        }
    }

    /// Whether polling too soon slows it down no further.
    pub fn is_slowest(&self) -> bool {
        self.interval >= MAX_INTERVAL_SECONDS
    }
}

/// Whether whoever polls has shown what the registration asks for: the verifier of its challenge, or none where none was
/// given.
pub fn proven(challenge: Option<&CodeChallenge>, verifier: Option<&CodeVerifier>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => challenge.met_by(verifier),
        // A verifier without a challenge is a downgrade (RFC 9700 §2.1.1).
        (Some(_), None) | (None, Some(_)) => false,
    }
}
