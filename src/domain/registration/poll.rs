//! What an agent's poll is told, and how fast it may ask.

use crate::domain::{
    id::{KeyId, RegistrationId},
    pkce::CodeChallenge,
    registration::request::{Attempt, RegistrationRequest},
    secret::CodeVerifier,
};
use jiff::{SignedDuration, Timestamp};

/// Seconds between two polls where nobody says another number (RFC 8628 §3.2).
pub const USUAL_INTERVAL_SECONDS: u16 = 5;

/// Seconds that each `slow_down` adds to the interval (RFC 8628 §3.5).
const SLOW_DOWN_SECONDS: u16 = 5;

/// Seconds the interval grows to at most: an agent that polls too fast must still notice an approval in time.
pub const MAX_INTERVAL_SECONDS: u16 = 60;

/// Seconds; a server that names more means something else.
const MAX_TOLD_SECONDS: u16 = 3_600;

/// The longest a poll is held, in seconds: below what proxies cut and clients wait for.
pub const MAX_WAIT_SECONDS: u64 = 55;

/// How long a poll is held for a client that leaves it to us, in seconds: a human needs that long to find the page.
pub const USUAL_WAIT_SECONDS: u64 = 45;

/// The interval from now on, after a poll that came too early. Never a shorter one.
pub fn slower(interval: u16) -> u16 {
    interval.saturating_add(SLOW_DOWN_SECONDS).min(MAX_INTERVAL_SECONDS).max(interval)
}

/// The interval that somebody else's answer names. Where it names none, 0 or days, it is the usual one.
pub fn told(interval: Option<u64>) -> u16 {
    let told = interval.and_then(|seconds| u16::try_from(seconds).ok());
    told.filter(|seconds| (1..=MAX_TOLD_SECONDS).contains(seconds)).unwrap_or(USUAL_INTERVAL_SECONDS)
}

/// Whether a poll so long after the one before comes too early.
pub fn is_too_early(since: SignedDuration, interval: u16) -> bool {
    since < SignedDuration::from_secs(interval.into())
}

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
    /// Too early; the interval from now on.
    SlowDown {
        interval: u16,
    },
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
            interval if too_early => Poll::SlowDown { interval: slower(interval) },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_too_soon_makes_the_interval_longer_up_to_a_minute() {
        for interval in 0..MAX_INTERVAL_SECONDS {
            assert!(slower(interval) > interval && slower(interval) <= MAX_INTERVAL_SECONDS, "{interval}");
        }
        assert_eq!([5, 10, 57, 60, 61, u16::MAX].map(slower), [10, 15, 60, 60, 61, u16::MAX]);
    }

    #[test]
    fn what_a_server_tells_is_an_interval_or_the_usual_one() {
        let of = [None, Some(0), Some(86_400), Some(u64::MAX), Some(1), Some(7), Some(3_600)];
        assert_eq!(
            of.map(told),
            [USUAL_INTERVAL_SECONDS, USUAL_INTERVAL_SECONDS, USUAL_INTERVAL_SECONDS, USUAL_INTERVAL_SECONDS, 1, 7, 3_600]
        );
    }

    #[test]
    fn too_early_is_before_the_interval_is_over_and_while_the_clock_is_set_back() {
        let ms = SignedDuration::from_millis;
        assert!(is_too_early(ms(4_999), 5) && is_too_early(ms(-1), 5) && !is_too_early(ms(5_000), 5));
    }
}
