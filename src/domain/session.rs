//! A human's browser session, and the ticket of a service's portal.

use crate::domain::{digest::Digest, id::AccountId, page_path::PagePath, source::Source, time::after};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A signed-in browser. Stored by the hash of its token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BrowserSession {
    pub token: Digest,
    pub account: AccountId,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    /// When the password was last given: sign-in, or asked again before a risky approval.
    pub authenticated_at: Timestamp,
    pub source: Source,
}

impl BrowserSession {
    /// A stolen cookie dies within a working day.
    pub const MAX_AGE: SignedDuration = SignedDuration::from_hours(12);
    /// An abandoned browser signs itself out.
    pub const MAX_IDLE: SignedDuration = SignedDuration::from_mins(30);
    /// A risky approval asks for the password again after this.
    pub const FRESH_FOR: SignedDuration = SignedDuration::from_mins(5);
    /// `seen_at` is written at most this often.
    pub const SEEN_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

    /// Whether the browser is still signed in. A clock that went back ends no session.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.duration_since(self.created_at) < Self::MAX_AGE && now.duration_since(self.seen_at) < Self::MAX_IDLE
    }

    /// Whether the password was given so lately that a risky decision may go without.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.authenticated_at) < Self::FRESH_FOR
    }

    /// Unix seconds after which the row is purged.
    pub fn ends_at(&self) -> i64 {
        after(self.created_at, Self::MAX_AGE).as_second()
    }
}

/// A sign-in that a service has prepared for a human it knows: used once, soon. Stored by the hash of its ticket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PortalSession {
    pub ticket: Digest,
    pub account: AccountId,
    pub return_to: PagePath,
    pub expires_at: Timestamp,
}

impl PortalSession {
    /// Long enough for a redirect and one press of a button.
    pub const TTL: SignedDuration = SignedDuration::from_secs(60);
}
