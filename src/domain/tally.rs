//! How often something happened on a day, over all accounts: for whoever runs the deployment.

use crate::domain::usage::date;
use jiff::{Timestamp, civil::Date};
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
        Self { day: date(now), what, count: 0 }
    }
}
