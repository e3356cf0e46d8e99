//! Limits on what a guesser or a flood may do: so many times per window, counted in the store,
//! so that a restart gives nobody a fresh start.

use crate::domain::{
    account::Account,
    id::{AccountId, KeyId, RegistrationId},
    source::Source,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

const QUARTER: SignedDuration = SignedDuration::from_mins(15);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Accounts younger than this share one allowance of wrong codes: fresh accounts are free.
pub const YOUNG: SignedDuration = SignedDuration::from_hours(24);

/// One thing that is counted: against whom, how often, per which window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    name: &'static str,
    subject: String,
    pub max: u32,
    window: SignedDuration,
}

impl Limit {
    fn new(name: &'static str, subject: String, max: u32, window: SignedDuration) -> Self {
        Self { name, subject, max, window }
    }

    pub fn registrations(subject: String, max: u32) -> Self {
        Self::new("registrations", subject, max, HOUR)
    }

    /// Wrong codes charge the guesser: the account, its address, and all young accounts together. The operator's own
    /// account is not one of those: strangers must not lock it out on its first day.
    pub fn wrong_codes(account: &Account, source: &Source, now: Timestamp) -> Vec<Self> {
        let mut limits = vec![
            Self::new("wrong_codes_account", account.id.to_string(), 10, HOUR),
            Self::new("wrong_codes_source", source.bucket(), 20, HOUR),
        ];
        if now.duration_since(account.created_at) < YOUNG && !account.operator {
            limits.push(Self::new("wrong_codes_young", String::new(), 300, HOUR));
        }
        limits
    }

    /// Every attempt to sign in counts, right or wrong.
    pub fn logins(email: &str, source: &Source) -> Vec<Self> {
        vec![
            Self::new("logins", format!("{email} {}", source.bucket()), 10, QUARTER),
            Self::new("logins_source", source.bucket(), 100, HOUR),
        ]
    }

    /// The password asked again before a risky approval.
    pub fn reauthentications(account: AccountId, source: &Source) -> Vec<Self> {
        Self::logins(&account.to_string(), source)
    }

    pub fn signups(source: &Source) -> Self {
        Self::new("signups", source.bucket(), 5, HOUR)
    }

    /// `round` tells one printed code from the next.
    pub fn setup_codes(source: &Source, round: i64) -> Self {
        Self::new("setup_codes", format!("{} {round}", source.bucket()), 10, HOUR)
    }

    /// One note an hour and key that it was used in the wrong environment.
    pub fn wrong_environment_notes(key: KeyId) -> Self {
        Self::new("wrong_environment", key.to_string(), 1, HOUR)
    }

    /// Ten notes an hour and registration that somebody polled without its verifier.
    pub fn wrong_verifier_notes(registration: RegistrationId) -> Self {
        Self::new("wrong_verifier", registration.to_string(), 10, HOUR)
    }

    /// The start of the window `now` falls in, in Unix seconds.
    fn window_start(&self, now: Timestamp) -> i64 {
        now.as_second() - now.as_second().rem_euclid(self.window.as_secs())
    }

    /// The row this counter lives in.
    pub fn row(&self, now: Timestamp) -> String {
        format!("{}|{}|{}", self.name, self.subject, self.window_start(now))
    }

    /// Seconds until the window ends.
    pub fn retry_after(&self, now: Timestamp) -> u64 {
        u64::try_from(self.window_start(now) + self.window.as_secs() - now.as_second()).unwrap_or(1).max(1)
    }

    pub fn ends_at(&self, now: Timestamp) -> i64 {
        self.window_start(now) + self.window.as_secs()
    }
}

/// How often a limit was charged in one window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counter {
    pub row: String,
    pub count: u32,
    /// Unix seconds after which the row is purged.
    pub ends_at: i64,
}
