//! What is counted while keys are used, in memory: one meter a key, so that a verification touches one place.
//!
//! A key's facts hold its meter, and outlive no change; the meter stays while anybody holds it or it has something to
//! tell. So a key that is read again goes on with the allowance it had.

use crate::domain::{
    rate_limit::RateLimitKey,
    source::Source,
    usage::{Day, Refusal, Usage, date},
};
use dashmap::DashSet;
use governor::nanos::Nanos;
use jiff::{Timestamp, civil::Date};
use quick_cache::DefaultHashBuilder;
use std::{
    borrow::Borrow,
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The rate state of one key or account, and its uses that are not written yet.
#[derive(Debug)]
pub struct Meter {
    pub of: RateLimitKey,
    /// The theoretical arrival time of GCRA, at which the allowance is replenished, in Unix nanoseconds; 0: nothing was ever taken.
    tat: AtomicU64,
    /// Whether it waits to be written.
    pub listed: AtomicBool,
    uses: Mutex<Option<Box<PendingUsage>>>,
}

impl Meter {
    fn new(of: RateLimitKey) -> Self {
        Self { of, tat: AtomicU64::new(0), listed: AtomicBool::new(false), uses: Mutex::new(None) }
    }

    /// When the allowance is replenished.
    pub fn tat(&self) -> Nanos {
        self.tat.load(Ordering::Acquire).into()
    }

    /// Puts back what was stored before a restart.
    pub fn set_tat(&self, at: Nanos) {
        self.tat.store(at.into(), Ordering::Release);
    }

    /// Replaces the time at which the allowance is replenished; `decide` may be asked again when others did meanwhile.
    ///
    /// # Errors
    /// Whatever `decide` refuses with; nothing is changed then.
    pub fn change<T, E>(&self, decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>) -> Result<T, E> {
        let mut before = self.tat.load(Ordering::Acquire);
        loop {
            let (outcome, after) = decide((before != 0).then(|| before.into()))?;
            match self.tat.compare_exchange_weak(before, after.into(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(outcome),
                Err(now) => before = now,
            }
        }
    }

    /// The uses that are not written yet.
    pub fn uses(&self) -> MutexGuard<'_, Option<Box<PendingUsage>>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self, now: Nanos) -> bool {
        self.tat() <= now && self.uses().is_none()
    }
}

// In a set they are found by what they are of.
impl PartialEq for Meter {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of
    }
}

impl Eq for Meter {}

impl Hash for Meter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.hash(state);
    }
}

impl Borrow<RateLimitKey> for Arc<Meter> {
    fn borrow(&self) -> &RateLimitKey {
        &self.of
    }
}

/// All meters of the process, each found by what it is of.
#[derive(Default)]
pub struct Meters(DashSet<Arc<Meter>, DefaultHashBuilder>);

impl Meters {
    /// The one meter of a key, lineage or account; made when there is none.
    pub fn of(&self, of: RateLimitKey) -> Arc<Meter> {
        loop {
            if let Some(meter) = self.find(of) {
                return meter;
            }
            // Whoever is first puts it there.
            self.0.insert(Arc::new(Meter::new(of)));
        }
    }

    /// The same, if anything was ever counted.
    pub fn find(&self, of: RateLimitKey) -> Option<Arc<Meter>> {
        self.0.get(&of).map(|meter| meter.clone())
    }

    /// Meters held, in use or not.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those of whose allowance something is used up.
    pub fn depleted(&self, now: Nanos) -> Vec<Arc<Meter>> {
        self.0.iter().filter(|meter| meter.tat() > now).map(|meter| meter.clone()).collect()
    }

    /// Forgets those that nobody holds and that have nothing to tell.
    pub fn forget_idle(&self, now: Nanos) {
        self.0.retain(|meter| Arc::strong_count(meter) > 1 || !meter.is_idle(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::KeyId;
    use jiff::Timestamp;

    fn key(n: u8) -> RateLimitKey {
        RateLimitKey::Key(KeyId::new(Timestamp::UNIX_EPOCH, [n; 16]))
    }

    #[test]
    fn a_rate_limit_key_has_one_meter() {
        let meters = Meters::default();
        assert!(Arc::ptr_eq(&meters.of(key(1)), &meters.of(key(1))));
        assert!(!Arc::ptr_eq(&meters.of(key(1)), &meters.of(key(2))));
        assert!(meters.find(key(3)).is_none());
    }

    #[test]
    fn what_is_held_or_owed_or_unwritten_is_not_forgotten() {
        let meters = Meters::default();
        let held = meters.of(key(1));
        meters.of(key(2)).set_tat(10.into());
        *meters.of(key(3)).uses() = Some(Box::default());
        meters.of(key(4));
        meters.forget_idle(9.into());
        let left = |n| meters.find(key(n)).is_some();
        assert_eq!([left(1), left(2), left(3), left(4)], [true, true, true, false]);
        drop(held);
        meters.forget_idle(10.into());
        assert_eq!([left(1), left(2), left(3)], [false, false, true]);
    }
}

/// What a key was used for since it was last written: small where, as nearly always, all were accepted on one day.
#[derive(Debug, Default, Clone)]
pub struct PendingUsage {
    /// Unix milliseconds of the last accepted use.
    last: i64,
    from: Option<Source>,
    accepted: u64,
    /// When those were.
    date: Date,
    /// Everything else.
    rest: Vec<(Date, Day)>,
}

impl PendingUsage {
    pub(crate) fn count(&mut self, refused: Option<Refusal>, from: Option<Source>, now: Timestamp) {
        match refused {
            None => {
                self.accept(date(now), 1);
                (self.last, self.from) = (now.as_millisecond(), from);
            }
            Some(_) => self.day(date(now)).count(refused),
        }
    }

    fn accept(&mut self, date: Date, count: u64) {
        if self.accepted == 0 || self.date == date {
            self.date = date;
            self.accepted += count;
        } else {
            self.day(date).accepted += count;
        }
    }

    fn day(&mut self, date: Date) -> &mut Day {
        let place = self.rest.iter().position(|(d, _)| *d == date).unwrap_or_else(|| {
            self.rest.push((date, Day::default()));
            self.rest.len() - 1
        });
        &mut self.rest[place].1
    }

    pub(crate) fn add_days_to(&self, days: &mut BTreeMap<Date, Day>) {
        self.rest.iter().for_each(|(date, day)| days.entry(*date).or_default().add(day));
        if self.accepted > 0 {
            days.entry(self.date).or_default().accepted += self.accepted;
        }
    }

    pub(crate) fn days(&self) -> BTreeMap<Date, Day> {
        let mut days = BTreeMap::new();
        self.add_days_to(&mut days);
        days
    }

    /// Takes in what was counted before.
    pub(crate) fn add(&mut self, before: &Self) {
        for (date, day) in before.days() {
            self.accept(date, day.accepted);
            if !day.refused.is_empty() {
                self.day(date).add(&Day { accepted: 0, ..day });
            }
        }
        if self.last == 0 {
            (self.last, self.from) = (before.last, before.from);
        }
    }

    pub(crate) fn add_to(&self, usage: &mut Usage) {
        for day in self.days().values() {
            usage.uses += day.accepted;
            usage.refused += day.all_refused();
        }
        if self.last != 0 {
            usage.last_used_at = Timestamp::from_millisecond(self.last).ok();
            usage.last_used_from = self.from.or(usage.last_used_from);
        }
    }
}
