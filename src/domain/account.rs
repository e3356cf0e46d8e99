//! Humans: accounts, and the browser sessions they sign in with.

use crate::domain::{
    id::AccountId,
    name::{Email, ExternalId},
    source::Source,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

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

impl Account {
    /// As an agent names it to its human: enough to know one's own. Anybody can sign up with an address that begins
    /// like another's, so one that nobody verified says so.
    pub fn named(&self) -> String {
        let masked = self.email.masked();
        if self.email_verified { masked } else { format!("{masked} (address not verified)") }
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

/// Where an account was signed in to: these places keep an allowance of their own when others guess its password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownPlaces {
    pub account: AccountId,
    /// The latest last.
    places: Vec<KnownPlace>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownPlace {
    #[serde(rename = "bucket")]
    rate_limit_key: String,
    seen_at: Timestamp,
}

impl KnownPlaces {
    /// Home, work, a phone's networks; somebody who travels pushes the oldest out.
    const MAX_PLACES: usize = 16;
    /// Addresses get new holders.
    const RETENTION: SignedDuration = SignedDuration::from_hours(24 * 90);

    /// Of an account that signed in nowhere yet.
    pub fn none(account: AccountId) -> Self {
        Self { account, places: Vec::new() }
    }

    /// Whether two requests came from one place, as far as an address tells. Behind a proxy that hides it, never.
    pub fn are_one(one: &Source, other: &Source) -> bool {
        *one != Source::Hidden && one.rate_limit_key() == other.rate_limit_key()
    }

    /// Whether the account signed in there in the last 90 days.
    pub fn hold(&self, source: &Source, now: Timestamp) -> bool {
        let rate_limit_key = source.rate_limit_key();
        *source != Source::Hidden
            && self.places.iter().any(|place| place.rate_limit_key == rate_limit_key && now.duration_since(place.seen_at) < Self::RETENTION)
    }

    /// Somewhere behind a proxy is no place: it could be anybody's.
    pub fn add(&mut self, source: &Source, now: Timestamp) {
        if *source != Source::Hidden {
            let rate_limit_key = source.rate_limit_key();
            self.places.retain(|place| place.rate_limit_key != rate_limit_key && now.duration_since(place.seen_at) < Self::RETENTION);
            self.places.push(KnownPlace { rate_limit_key, seen_at: now });
            self.places.drain(..self.places.len().saturating_sub(Self::MAX_PLACES));
        }
    }
}
