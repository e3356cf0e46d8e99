//! What keys are used for: counted in memory, written in batches off the request path.
//! What is lost by a kill is at most the last minute of these numbers, or the last few if more than 18,000 keys are in
//! use; never anything else.

use crate::{
    domain::{
        id::KeyId,
        source::Source,
        usage::{Day, Refusal, Usage, date},
    },
    service::{
        Error, Service,
        keys::Actor,
        view::{UsageDay, UsageDays},
    },
    store::{Order, Read, StoreError, Table, Write, rows},
};
use dashmap::DashMap;
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use quick_cache::DefaultHashBuilder;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A key's rows are written at most this often.
const STEP: SignedDuration = SignedDuration::from_secs(60);
/// Keys written at once: keeps the store's one writer free for others.
const BATCH: usize = 500;
/// Keys written per second at most: each costs the store as much as some verifications. With more in use their turn
/// comes less often than [`STEP`].
const PER_SECOND: usize = 300;
/// How long a stop may take for them; what is left then is lost.
const AT_THE_END: Duration = Duration::from_millis(1_500);
/// Keys whose numbers wait in memory at most. Only a store that fails for long fills it; then numbers are lost.
const MOST: usize = 262_144;
/// How many days of numbers are kept.
pub const KEPT_DAYS: i64 = 400;
/// The subject of the rows that sum all keys.
const EVERYBODY: &str = "all";

#[derive(Default)]
pub struct UsageLog {
    keys: DashMap<KeyId, Pending, DefaultHashBuilder>,
    round: Mutex<Round>,
}

/// Writing all that waits, once a minute at most and a part at a time.
#[derive(Default)]
struct Round {
    began: Option<Timestamp>,
    /// Whose turn is still to come, the next one last.
    left: Vec<KeyId>,
}

#[derive(Default, Clone)]
struct Pending {
    last: Option<(Timestamp, Option<Source>)>,
    /// Oldest first; nearly always one.
    days: Vec<(Date, Day)>,
}

impl Pending {
    fn day(&mut self, date: Date) -> &mut Day {
        if self.days.last().is_none_or(|(last, _)| *last != date) {
            self.days.reserve_exact(1);
            self.days.push((date, Day::default()));
        }
        let last = self.days.len() - 1;
        &mut self.days[last].1
    }

    fn total(&self) -> Day {
        let mut total = Day::default();
        self.days.iter().for_each(|(_, day)| total.add(day));
        total
    }

    fn add_to(&self, usage: &mut Usage) {
        let total = self.total();
        usage.uses += total.accepted;
        usage.refused += total.all_refused();
        if let Some((at, from)) = self.last {
            usage.last_used_at = Some(at);
            usage.last_used_from = from.or(usage.last_used_from);
        }
    }
}

impl UsageLog {
    pub fn note(&self, key: KeyId, refused: Option<Refusal>, from: Option<Source>, now: Timestamp) {
        let mut pending = match self.keys.get_mut(&key) {
            Some(pending) => pending,
            None if self.keys.len() >= MOST => return,
            None => self.keys.entry(key).or_default(),
        };
        pending.day(date(now)).count(refused);
        if refused.is_none() {
            pending.last = Some((now, from));
        }
    }

    /// The stored numbers with what is still in memory.
    pub fn merged(&self, key: KeyId, mut stored: Usage) -> Usage {
        if let Some(pending) = self.keys.get(&key) {
            pending.add_to(&mut stored);
        }
        stored
    }

    /// Whose numbers are to be written now, in the order of their rows: neighbours are written together.
    fn due(&self, now: Timestamp, all: bool) -> Vec<KeyId> {
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        if all || (round.left.is_empty() && round.began.is_none_or(|at| now.duration_since(at) >= STEP)) {
            round.left = self.keys.iter().map(|entry| *entry.key()).collect();
            round.left.sort_unstable_by(|one, other| other.cmp(one));
            round.began = Some(now).filter(|_| !round.left.is_empty());
        }
        let rest = if all { 0 } else { round.left.len().saturating_sub(PER_SECOND) };
        let mut due = round.left.split_off(rest);
        due.reverse();
        due
    }

    fn take(&self, keys: &[KeyId]) -> Vec<(KeyId, Pending)> {
        keys.iter().filter_map(|key| self.keys.remove(key)).collect()
    }

    /// Puts back what could not be written.
    fn give_back(&self, batch: Vec<(KeyId, Pending)>) {
        for (key, pending) in batch {
            let mut now = self.keys.entry(key).or_default();
            for (date, day) in &pending.days {
                match now.days.iter_mut().find(|(d, _)| d == date) {
                    Some((_, there)) => there.add(day),
                    None => now.days.insert(0, (*date, day.clone())),
                }
            }
            now.last = now.last.or(pending.last);
        }
    }

    /// Days of a key that are still in memory.
    fn pending_days(&self, key: KeyId) -> Vec<(Date, Day)> {
        self.keys.get(&key).map(|pending| pending.days.clone()).unwrap_or_default()
    }

    /// Days of all keys together that are still in memory.
    fn all_pending_days(&self) -> BTreeMap<Date, Day> {
        let mut days = BTreeMap::<Date, Day>::new();
        for pending in &self.keys {
            pending.days.iter().for_each(|(date, day)| days.entry(*date).or_default().add(day));
        }
        days
    }
}

fn row(subject: &str, date: Date) -> Vec<u8> {
    rows::entry(&[subject, &date.to_string()])
}

fn add_day(rows: &mut dyn Write, subject: &str, date: Date, day: &Day) -> Result<(), StoreError> {
    let key = row(subject, date);
    let stored = rows.get(Table::UsageDays, &key)?;
    if stored.is_none() {
        forget_old_days(rows, subject, date)?;
    }
    let mut total: Day = stored.map(|bytes| rows::decode(&bytes)).transpose()?.unwrap_or_default();
    total.add(day);
    rows.put(Table::UsageDays, &key, rows::encode(&total)?);
    Ok(())
}

/// A day's first row takes the place of the oldest.
fn forget_old_days(rows: &mut dyn Write, subject: &str, today: Date) -> Result<(), StoreError> {
    let Ok(oldest) = today.checked_sub(KEPT_DAYS.days()) else { return Ok(()) };
    for (key, _) in rows.scan(Table::UsageDays, &rows::entry(&[subject, ""]), None, Order::Ascending, 8)? {
        if key < row(subject, oldest) {
            rows.remove(Table::UsageDays, &key);
        }
    }
    Ok(())
}

/// The last `count` days of a subject, oldest first, days without use included.
fn last_days(rows: &dyn Read, subject: &str, today: Date, count: u16) -> Result<BTreeMap<Date, Day>, StoreError> {
    let mut days = BTreeMap::new();
    for back in 0..i64::from(count) {
        let Ok(date) = today.checked_sub(back.days()) else { continue };
        let stored = rows.get(Table::UsageDays, &row(subject, date))?;
        days.insert(date, stored.map(|bytes| rows::decode(&bytes)).transpose()?.unwrap_or_default());
    }
    Ok(days)
}

fn shown(mut days: BTreeMap<Date, Day>, pending: impl IntoIterator<Item = (Date, Day)>) -> UsageDays {
    for (date, day) in pending {
        if let Some(there) = days.get_mut(&date) {
            there.add(&day);
        }
    }
    let day = |(date, day): (Date, Day)| UsageDay { date: date.to_string(), accepted: day.accepted, refused: day.refused };
    UsageDays { days: days.into_iter().map(day).collect() }
}

impl Service {
    /// What a key was used for on each of the last `days` days, oldest first, today last. For whoever may see the key.
    pub async fn key_usage(&self, actor: &Actor, id: KeyId, days: u16) -> Result<UsageDays, Error> {
        if !(1..=366).contains(&days) {
            return Err(Error::invalid("days", "must be 1 to 366"));
        }
        self.get_key(actor, id).await?;
        let today = date(self.world.now());
        let stored = self.store().read(|rows| last_days(rows, &id.to_string(), today, days)).await?;
        Ok(shown(stored, self.usage.pending_days(id)))
    }

    /// The same for all keys of the deployment together.
    pub async fn usage_of_all(&self, days: u16) -> Result<UsageDays, Error> {
        let today = date(self.world.now());
        let stored = self.store().read(|rows| last_days(rows, EVERYBODY, today, days)).await?;
        Ok(shown(stored, self.usage.all_pending_days()))
    }

    /// The last writing before a stop.
    pub(super) async fn flush_last_usage(&self) {
        match tokio::time::timeout(AT_THE_END, self.flush_usage(true)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "usage counts of the last minute are lost"),
            Err(_) => tracing::warn!(keys = self.usage.keys.len(), "there was no time to write the usage counts of all keys"),
        }
    }

    /// Writes counts that are due, or all of them.
    pub(super) async fn flush_usage(&self, all: bool) -> Result<(), Error> {
        for keys in self.usage.due(self.world.now(), all).chunks(BATCH) {
            let batch = self.usage.take(keys);
            let rows_to_write = batch.clone();
            let written = self.store().write(move |rows| {
                let mut everybody = BTreeMap::<Date, Day>::new();
                for (key, pending) in &rows_to_write {
                    let mut usage = rows::usage(rows, *key)?;
                    pending.add_to(&mut usage);
                    rows::save_usage(rows, *key, &usage)?;
                    for (date, day) in &pending.days {
                        add_day(rows, &key.to_string(), *date, day)?;
                        everybody.entry(*date).or_default().add(day);
                    }
                }
                everybody.iter().try_for_each(|(date, day)| add_day(rows, EVERYBODY, *date, day))?;
                Ok::<_, Error>(())
            });
            if let Err(error) = written.await {
                self.usage.give_back(batch);
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a58_numbers_that_can_not_be_written_fill_no_memory() {
        let (log, now) = (UsageLog::default(), Timestamp::UNIX_EPOCH);
        let key = |n: usize| KeyId::new(now, (n as u128).to_be_bytes());
        (0..MOST + 1000).for_each(|n| log.note(key(n), None, None, now));
        let batch = log.take(&log.due(now, true));
        log.give_back(batch);
        assert_eq!(log.keys.len(), MOST);
        log.note(key(0), None, None, now);
        assert_eq!(log.merged(key(0), Usage::default()).uses, 2, "those that have a place go on");
    }

    #[test]
    fn of_more_keys_than_can_be_written_at_once_each_has_its_turn() {
        let (log, now) = (UsageLog::default(), Timestamp::UNIX_EPOCH);
        let keys: Vec<_> = (0..5 * PER_SECOND as u128).map(|n| KeyId::new(now, n.to_be_bytes())).collect();
        let mut written = HashSet::new();
        for _second in 0..5 {
            keys.iter().for_each(|key| log.note(*key, None, None, now));
            let due = log.due(now, false);
            assert_eq!((due.len(), due.is_sorted()), (PER_SECOND, true));
            written.extend(log.take(&due).into_iter().map(|(key, _)| key));
        }
        assert!(log.due(now, false).is_empty(), "the next round begins a minute after this one began");
        assert_eq!(written.len(), keys.len());
    }
}
