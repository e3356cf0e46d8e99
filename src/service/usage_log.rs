//! What keys are used for: counted in memory, written in batches off the request path.
//! What is lost by a kill is at most the last minute of these numbers, or the last few if more than 18,000 keys are in
//! use; never anything else.

use crate::{
    cache::meter::{Meter, PendingUsage},
    domain::{
        source::Source,
        usage::{Day, Refusal},
    },
};
use jiff::{SignedDuration, Timestamp, civil::Date};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A key's rows are written at most this often.
const WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// Keys written at once: keeps the store's one writer free for others.
pub const MAX_KEYS_PER_WRITE: usize = 500;

/// Keys written per second at most: each costs the store as much as some verifications. With more in use their turn
/// comes less often than [`WRITE_INTERVAL`].
pub const MAX_KEYS_PER_SECOND: usize = 300;

/// Keys whose numbers wait in memory at most, some 70 bytes each. More in use than that, or a store that fails for long,
/// fills it; then numbers are lost.
const MAX_UNWRITTEN_KEYS: usize = 1 << 20;

/// Whose uses wait to be written. They are on the meters.
#[derive(Default)]
pub struct UsageLog(Mutex<UnwrittenUsage>);

/// Written is all that waits, once a minute at most and a part at a time.
#[derive(Default)]
pub struct UnwrittenUsage {
    next: Vec<Arc<Meter>>,
    /// Whose turn it is, the last one first.
    round: Vec<Arc<Meter>>,
    began: Option<Timestamp>,
}

impl UnwrittenUsage {
    /// Keys whose uses wait.
    pub fn len(&self) -> usize {
        self.next.len() + self.round.len()
    }
}

impl UsageLog {
    /// Held while a list is changed, never across a write.
    pub fn waiting(&self) -> MutexGuard<'_, UnwrittenUsage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one use on its meter, and the meter among those to write. Past the bound on these the use is lost.
    pub fn note(&self, meter: &Arc<Meter>, refused: Option<Refusal>, from: Option<Source>, now: Timestamp) {
        let mut uses = meter.uses();
        if uses.is_none() {
            let mut waiting = self.waiting();
            if waiting.len() >= MAX_UNWRITTEN_KEYS {
                return;
            }
            waiting.next.push(meter.clone());
        }
        uses.get_or_insert_default().count(refused, from, now);
    }

    /// Begins another round if it is time, or with `all` of them.
    pub fn begin(&self, now: Timestamp, all: bool) {
        let mut waiting = self.waiting();
        if all || (waiting.round.is_empty() && waiting.began.is_none_or(|at| now.duration_since(at).abs() >= WRITE_INTERVAL)) {
            let next = std::mem::take(&mut waiting.next);
            waiting.round.extend(next);
            waiting.round.sort_unstable_by_key(|meter| Reverse(meter.of));
            waiting.began = Some(now).filter(|_| !waiting.round.is_empty());
        }
    }

    /// The next numbers to be written, `most` at once, in the order of their rows: neighbours are written together.
    pub fn take(&self, most: usize) -> Vec<(Arc<Meter>, Box<PendingUsage>)> {
        let mut waiting = self.waiting();
        let rest = waiting.round.len().saturating_sub(most);
        let meters = waiting.round.split_off(rest);
        drop(waiting);
        meters
            .into_iter()
            .rev()
            .filter_map(|meter| {
                let uses = meter.uses().take()?;
                Some((meter, uses))
            })
            .collect()
    }

    /// Puts back what could not be written.
    pub fn give_back(&self, batch: Vec<(Arc<Meter>, Box<PendingUsage>)>) {
        for (meter, pending) in batch {
            let mut uses = meter.uses();
            if uses.is_none() {
                self.waiting().next.push(meter.clone());
            }
            uses.get_or_insert_default().add(&pending);
        }
    }

    /// Days of all keys together that are still in memory.
    pub fn all_pending_days(&self) -> BTreeMap<Date, Day> {
        let mut days = BTreeMap::<Date, Day>::new();
        // Whoever counts holds a meter and asks for the list: not both here.
        let waiting: Vec<_> = {
            let waiting = self.waiting();
            waiting.next.iter().chain(&waiting.round).cloned().collect()
        };
        for meter in waiting {
            meter.uses().iter().for_each(|pending| pending.add_days_to(&mut days));
        }
        days
    }
}

/// What a meter has counted that is not written yet, by day.
pub fn pending_days(meter: &Meter) -> BTreeMap<Date, Day> {
    meter.uses().as_ref().map(|pending| pending.days()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::meter::Meters,
        domain::{
            id::KeyId,
            rate_limit::RateLimitKey,
            usage::{Usage, date},
        },
    };
    use std::collections::HashSet;

    fn meters(count: usize) -> Vec<Arc<Meter>> {
        let all = Meters::default();
        let key = |n: usize| RateLimitKey::Key(KeyId::new(Timestamp::UNIX_EPOCH, (n as u128).to_be_bytes()));
        (0..count).map(|n| all.of(key(n))).collect()
    }

    fn uses(meter: &Meter) -> u64 {
        pending_days(meter).values().map(|day| day.accepted).sum()
    }

    #[test]
    fn a58_numbers_that_can_not_be_written_fill_no_memory() {
        let (log, now) = (UsageLog::default(), Timestamp::UNIX_EPOCH);
        let meters = meters(MAX_UNWRITTEN_KEYS + 1000);
        meters.iter().for_each(|meter| log.note(meter, None, None, now));
        log.begin(now, true);
        log.give_back(log.take(MAX_KEYS_PER_WRITE));
        assert_eq!(log.waiting().len(), MAX_UNWRITTEN_KEYS);
        meters.iter().for_each(|meter| log.note(meter, None, None, now));
        assert_eq!(uses(&meters[0]), 2, "those that have a place go on");
        assert_eq!(uses(&meters[MAX_UNWRITTEN_KEYS]), 0);
        assert_eq!(log.all_pending_days().values().map(|day| day.accepted).sum::<u64>(), 2 * MAX_UNWRITTEN_KEYS as u64);
    }

    #[test]
    fn numbers_that_could_not_be_written_are_added_to_those_of_another_day() {
        let (log, first) = (UsageLog::default(), "2026-11-22T23:59:59Z".parse::<Timestamp>().expect("a time"));
        let (meter, next) = (&meters(1)[0], crate::domain::time::after(first, SignedDuration::from_secs(1)));
        log.note(meter, None, Some(Source::Local), first);
        log.note(meter, Some(Refusal::Expired), None, first);
        log.begin(first, true);
        let taken = log.take(1);
        log.note(meter, None, None, next);
        log.note(meter, Some(Refusal::Expired), None, next);
        log.give_back(taken);
        let day = Day { accepted: 1, refused: [(Refusal::Expired, 1)].into() };
        assert_eq!(pending_days(meter), [(date(first), day.clone()), (date(next), day)].into());
        let mut usage = Usage::default();
        meter.uses().as_ref().expect("some").add_to(&mut usage);
        assert_eq!((usage.uses, usage.refused, usage.last_used_at, usage.last_used_from), (2, 2, Some(next), None));
        assert_eq!(log.take(1).len() + log.waiting().len(), 1, "it waits once");
    }

    #[test]
    fn of_more_keys_than_can_be_written_at_once_each_has_its_turn() {
        let (log, now) = (UsageLog::default(), Timestamp::UNIX_EPOCH);
        let keys = meters(5 * MAX_KEYS_PER_SECOND);
        let mut written = HashSet::new();
        keys.iter().for_each(|key| log.note(key, None, None, now));
        for _second in 0..5 {
            log.begin(now, false);
            let taken: Vec<_> = log.take(MAX_KEYS_PER_SECOND).into_iter().map(|(key, _)| key.of).collect();
            assert_eq!((taken.len(), taken.is_sorted()), (MAX_KEYS_PER_SECOND, true));
            written.extend(taken);
            keys.iter().for_each(|key| log.note(key, None, None, now));
        }
        log.begin(now, false);
        assert!(log.take(MAX_KEYS_PER_SECOND).is_empty(), "the next round begins a minute after this one began");
        assert_eq!(written.len(), keys.len());
        log.begin(crate::domain::time::after(now, WRITE_INTERVAL), false);
        assert_eq!(log.take(keys.len()).len(), keys.len());
    }
}
