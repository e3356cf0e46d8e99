//! The typed way into one transaction: `tx.keys().by_hash(…)`, `tx.save(&key)`. Jobs are given it as [`dyn Read`](Read) or
//! [`dyn Write`](Write), over the bytes that an engine keeps.

use crate::store::{
    access::{Read, Write},
    error::StoreError,
    row::{self, Row},
    tables::{
        accounts::Accounts, browser_sessions::BrowserSessions, daily_counts::DailyCounts, events::Events, flagged_sources::FlaggedSources,
        grants::Grants, idempotency_records::IdempotencyRecords, keys::Keys, known_places::PlacesOfAccounts, operations::Operations,
        portal_sessions::PortalSessions, program_sessions::ProgramSessions, rate_limits::RateLimits, registrations::Registrations,
        settings, throttles::Throttles, usage::UsageOfKeys, usage_days::UsageDays,
    },
};
use serde::de::DeserializeOwned;

macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident: $table:ident,)+) => {
        impl dyn Read + '_ {
            $($(#[$doc])* pub fn $name(&self) -> $table<'_> {
                $table(self)
            })+

            /// What a setting of the whole store holds.
            ///
            /// # Errors
            /// [`StoreError::Corrupt`] where that is no `T`.
            pub fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
                settings::setting(self, name)
            }
        }

        impl dyn Write + '_ {
            $($(#[$doc])* pub fn $name(&self) -> $table<'_> {
                $table(self)
            })+

            /// What a setting of the whole store holds.
            ///
            /// # Errors
            /// [`StoreError::Corrupt`] where that is no `T`.
            pub fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
                settings::setting(self, name)
            }
        }
    };
}

reads! {
    /// What agents asked for.
    registrations: Registrations,
    /// Accounts of humans.
    accounts: Accounts,
    /// Where accounts were signed in to.
    known_places: PlacesOfAccounts,
    /// Browsers that are signed in.
    browser_sessions: BrowserSessions,
    /// Programs that signed in with a password.
    program_sessions: ProgramSessions,
    /// Sign-in links of a service's portal.
    portal_sessions: PortalSessions,
    /// API keys.
    keys: Keys,
    /// What was approved.
    grants: Grants,
    /// The activity of accounts.
    events: Events,
    /// How often agents asked and humans decided.
    daily_counts: DailyCounts,
    /// What keys were used for.
    usage: UsageOfKeys,
    /// The same by day.
    usage_days: UsageDays,
    /// When allowances are whole again.
    rate_limits: RateLimits,
    /// How often limits were charged.
    throttles: Throttles,
    /// Sources a human disowned a request from.
    flagged_sources: FlaggedSources,
    /// Calls of local programs that were carried out.
    operations: Operations,
    /// Requests that named themselves and were done.
    idempotency_records: IdempotencyRecords,
}

impl dyn Write + '_ {
    /// Writes a row with its index entries, and notes in the journal what it takes away.
    ///
    /// # Errors
    /// Whatever keeps the engine from reading what was there before.
    pub fn save<R: Row>(&mut self, row: &R) -> Result<(), StoreError> {
        row::save(self, row)
    }

    /// Removes a row with its index entries.
    pub fn erase<R: Row>(&mut self, row: &R) {
        row::erase(self, row);
    }
}
