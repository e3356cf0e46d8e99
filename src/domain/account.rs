//! Humans: accounts, and the browser sessions they sign in with.

use crate::domain::{
    id::AccountId,
    name::{Email, ExternalId},
    page_path::PagePath,
    secret::Digest,
    source::Source,
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

/// A human who owns keys. The e-mail is an unverified name until `email_verified` says otherwise.
#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub email: Email,
    #[serde(default)]
    pub email_verified: bool,
    /// argon2id, PHC string.
    pub password: Option<String>,
    /// Runs this deployment: its keys may verify everybody's.
    #[serde(default)]
    pub operator: bool,
    pub plan: String,
    /// The service's own name of this user.
    #[serde(default)]
    pub external_id: Option<ExternalId>,
    pub created_at: Timestamp,
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
}

/// What verification needs of an account.
#[derive(Debug)]
pub struct AccountFacts {
    pub id: AccountId,
    pub plan: Arc<str>,
    pub operator: bool,
    pub external_id: Option<Arc<str>>,
    pub disabled: bool,
    /// The account is another now: whoever holds these facts reads it again.
    pub changed: AtomicBool,
}

impl Account {
    /// As an agent names it to its human: enough to know one's own. Anybody can sign up with an address that begins
    /// like another's, so one that nobody verified says so.
    pub fn named(&self) -> String {
        let masked = self.email.masked();
        if self.email_verified { masked } else { format!("{masked} (address not verified)") }
    }

    pub fn facts(&self) -> AccountFacts {
        AccountFacts {
            id: self.id,
            plan: self.plan.as_str().into(),
            operator: self.operator,
            external_id: self.external_id.as_ref().map(|id| id.as_str().into()),
            disabled: self.disabled_at.is_some(),
            changed: AtomicBool::new(false),
        }
    }
}

// The password's hash is nothing to print: it can be guessed at leisure.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, email, plan, operator, .. } = self;
        f.debug_struct("Account")
            .field("id", id)
            .field("email", email)
            .field("plan", plan)
            .field("operator", operator)
            .finish_non_exhaustive()
    }
}

/// A signed-in browser. Stored by the hash of its token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub token: Digest,
    pub account: AccountId,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    /// When the password was last given: sign-in, or asked again before a risky approval.
    pub authenticated_at: Timestamp,
    pub source: Source,
}

impl Session {
    /// A stolen cookie dies within a working day.
    pub const ABSOLUTE: SignedDuration = SignedDuration::from_hours(12);
    /// An abandoned browser signs itself out.
    pub const IDLE: SignedDuration = SignedDuration::from_mins(30);
    /// A risky approval asks for the password again after this.
    pub const FRESH: SignedDuration = SignedDuration::from_mins(5);
    /// `seen_at` is written at most this often.
    pub const SEEN_STEP: SignedDuration = SignedDuration::from_mins(1);

    pub fn is_live(&self, now: Timestamp) -> bool {
        now.duration_since(self.created_at) < Self::ABSOLUTE && now.duration_since(self.seen_at) < Self::IDLE
    }

    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.authenticated_at) < Self::FRESH
    }

    /// Unix seconds after which the row is purged.
    pub fn ends_at(&self) -> i64 {
        after(self.created_at, Self::ABSOLUTE).as_second()
    }
}

/// Where an account was signed in to: these places keep an allowance of their own when others guess its password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownPlaces {
    pub account: AccountId,
    /// The latest last.
    places: Vec<KnownPlace>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownPlace {
    bucket: String,
    seen_at: Timestamp,
}

impl KnownPlaces {
    /// Home, work, a phone's networks; somebody who travels pushes the oldest out.
    const MOST: usize = 16;
    /// Addresses get new holders.
    const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

    pub fn none(account: AccountId) -> Self {
        Self { account, places: Vec::new() }
    }

    pub fn are_one(one: &Source, other: &Source) -> bool {
        *one != Source::Hidden && one.bucket() == other.bucket()
    }

    pub fn hold(&self, source: &Source, now: Timestamp) -> bool {
        let bucket = source.bucket();
        *source != Source::Hidden
            && self.places.iter().any(|place| place.bucket == bucket && now.duration_since(place.seen_at) < Self::KEPT)
    }

    /// Somewhere behind a proxy is no place: it could be anybody's.
    pub fn add(&mut self, source: &Source, now: Timestamp) {
        if *source != Source::Hidden {
            let bucket = source.bucket();
            self.places.retain(|place| place.bucket != bucket && now.duration_since(place.seen_at) < Self::KEPT);
            self.places.push(KnownPlace { bucket, seen_at: now });
            self.places.drain(..self.places.len().saturating_sub(Self::MOST));
        }
    }
}

/// A way in for a human whom a service has signed in itself: used once, soon. Stored by the hash of its ticket.
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
