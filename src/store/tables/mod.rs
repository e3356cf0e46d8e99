//! One file a kind of rows: the declaration of its table ([`Row`](crate::store::row::Row)) and the typed ways to it, which
//! [`tx`](crate::store::tx) hands out.
//!
//! All these ways fail as [`Read::get`](crate::store::access::Read::get) does, and on a row that does not read as what it should
//! be: [`StoreError::Corrupt`](crate::store::error::StoreError::Corrupt).

pub mod accounts;
pub mod browser_sessions;
pub mod daily_counts;
pub mod events;
pub mod flagged_sources;
pub mod grants;
pub mod idempotency_records;
pub mod keys;
pub mod known_places;
pub mod operations;
pub mod portal_sessions;
pub mod program_sessions;
pub mod rate_limits;
pub mod registrations;
pub mod settings;
pub mod throttles;
pub mod usage;
pub mod usage_days;
