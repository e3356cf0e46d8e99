//! How often something happened on a day, over all accounts: for whoever runs the deployment.

use crate::domain::usage::date;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountedEvent {
    Requested,
    Approved,
    Denied,
}

impl CountedEvent {
    /// The word in the key of its row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

/// One row a day (UTC) and kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DailyCount {
    pub day: Date,
    pub what: CountedEvent,
    pub count: u64,
}

impl DailyCount {
    /// The count of today, before the first.
    pub fn new(what: CountedEvent, now: Timestamp) -> Self {
        Self { day: date(now), what, count: 0 }
    }
}
