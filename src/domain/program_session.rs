//! Sessions of programs: what a password buys a browser app or a script instead of a key.
//!
//! 1. The human's e-mail and password open a session; the program receives an access token (a JWT of one hour) and a
//!    refresh token.
//! 2. Each use of the access token looks the session up, so whatever ends the session ends its tokens at once.
//! 3. The refresh token buys the next pair and is worth nothing from then on: the session counts its generations, and
//!    one that comes a second time was copied, so the session ends (RFC 9700 §4.14.2).
//! 4. The session ends by itself when it was not refreshed for a week, and in any case after thirty days.

use crate::domain::{
    id::{AccountId, ProgramSessionId},
    source::Source,
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// One sign-in of a program, with all that is issued from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramSession {
    pub id: ProgramSessionId,
    pub account: AccountId,
    pub created_at: Timestamp,
    pub refreshed_at: Timestamp,
    /// Which refresh token is the present one; older ones were spent.
    pub generation: u32,
    /// Makes refresh tokens derivable from the server secret and this row together, and from neither alone.
    pub salt: [u8; 16],
    pub source: Source,
}

impl ProgramSession {
    /// How long an access token lives, in seconds.
    pub const ACCESS_TTL_SECONDS: i64 = 3600;
    /// The longest a password once given counts.
    pub const MAX_AGE: SignedDuration = SignedDuration::from_hours(24 * 30);
    /// A program that does not come back is signed out.
    pub const MAX_IDLE: SignedDuration = SignedDuration::from_hours(24 * 7);
    /// Programs that sign in again and again without signing out: past it an account's oldest session ends.
    pub const MAX_PER_ACCOUNT: usize = 100;

    /// When it ends unless it is refreshed before.
    pub fn ends_at(&self) -> Timestamp {
        after(self.created_at, Self::MAX_AGE).min(after(self.refreshed_at, Self::MAX_IDLE))
    }

    /// Whether its tokens are worth anything. Signing out deletes the row, so a session that is stored and live was not signed out.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.ends_at()
    }

    /// Step 3: the next pair, from the token of `generation`.
    pub fn refresh(mut self, generation: u32, now: Timestamp) -> Refreshed {
        if generation != self.generation {
            return Refreshed::Reused;
        }
        (self.generation, self.refreshed_at) = (generation.saturating_add(1), now);
        Refreshed::Next(self)
    }
}

/// What came of a refresh token that once was good.
#[derive(Debug)]
pub enum Refreshed {
    Next(ProgramSession),
    /// Somebody else has used it: who, can't be told, so neither goes on.
    Reused,
}
