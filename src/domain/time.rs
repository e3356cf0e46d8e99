//! Sums of times that always have a result: what lies past an end of the calendar is that end.
//!
//! `Timestamp + SignedDuration` panics there, and a lifetime or a clock may come from anybody. `.clippy.toml` lets nothing
//! else add to a time.

use jiff::{SignedDuration, Timestamp};

/// So much later; with a negative length, earlier.
pub fn after(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// So much earlier.
pub fn before(at: Timestamp, by: SignedDuration) -> Timestamp {
    after(at, by.checked_neg().unwrap_or(SignedDuration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sum_past_the_calendar_is_its_end(second in -400_000_000_000_i64..300_000_000_000, by in any::<i64>(), nanos in any::<i32>()) {
            let at = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
            for by in [SignedDuration::new(by, nanos % 1_000_000_000), SignedDuration::MIN, SignedDuration::MAX, SignedDuration::ZERO] {
                prop_assert_eq!(after(at, by) >= at, !by.is_negative() || at == Timestamp::MIN);
                prop_assert_eq!(before(at, by) <= at, !by.is_negative() || at == Timestamp::MAX);
            }
        }
    }
}
