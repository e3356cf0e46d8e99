//! How often something happened on a day, over all accounts: for whoever runs the deployment.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    Requested,
    Approved,
    Denied,
}

impl Counted {
    pub const ALL: [Self; 3] = [Self::Requested, Self::Approved, Self::Denied];

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
pub struct Tally {
    pub day: Date,
    pub what: Counted,
    pub count: u64,
}

impl Tally {
    pub fn new(what: Counted, now: Timestamp) -> Self {
        Self { day: now.to_zoned(TimeZone::UTC).date(), what, count: 0 }
    }
}
