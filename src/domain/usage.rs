//! What keys were used for. Counted apart from the keys themselves: losing the last minute of it loses nobody's access.

use crate::domain::source::Source;
use jiff::{Timestamp, civil::Date, tz::Offset};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a known key was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Refusal {
    Revoked,
    Expired,
    Disabled,
    InsufficientScope,
    WrongEnvironment,
    RateLimited,
}

/// A key's whole life in one row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Usage {
    /// The last accepted use.
    pub last_used_at: Option<Timestamp>,
    #[serde(default)]
    pub last_used_from: Option<Source>,
    /// Accepted uses.
    pub uses: u64,
    #[serde(default)]
    pub refused: u64,
    /// The last day of use. It has a row of its own once another has begun: until then each writing changes one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<(Date, Day)>,
}

impl Usage {
    /// Adds to a day. Returns what belongs into that day's own row.
    pub fn add_day(&mut self, date: Date, day: Day) -> Option<(Date, Day)> {
        match &mut self.day {
            Some((last, counted)) if *last == date => {
                counted.add(&day);
                None
            }
            Some((last, _)) if *last > date => Some((date, day)),
            last => last.replace((date, day)),
        }
    }
}

/// What one day brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    pub accepted: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<Refusal, u64>,
}

impl Day {
    /// One more use: accepted, or refused for a reason.
    pub fn count(&mut self, refused: Option<Refusal>) {
        match refused {
            None => self.accepted += 1,
            Some(why) => *self.refused.entry(why).or_default() += 1,
        }
    }

    /// The sum of both, as when two counts of one day meet.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        for (why, count) in &other.refused {
            *self.refused.entry(*why).or_default() += count;
        }
    }

    /// Refused uses, whatever the reason.
    pub fn all_refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The day a moment belongs to, in UTC.
pub fn date(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_put_aside_when_another_begins() {
        let (date, uses) = (|day| Date::constant(2026, 11, day), |accepted| Day { accepted, ..Day::default() });
        let mut usage = Usage::default();
        assert_eq!(usage.add_day(date(21), uses(1)), None);
        assert_eq!(usage.add_day(date(21), uses(2)), None);
        assert_eq!(usage.add_day(date(22), uses(4)), Some((date(21), uses(3))));
        assert_eq!(usage.add_day(date(21), uses(8)), Some((date(21), uses(8))), "what came late");
        assert_eq!(usage.day, Some((date(22), uses(4))));
    }
}
