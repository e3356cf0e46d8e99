//! What keys are used for: counted in memory, written in batches off the request path.
//! What is lost by a kill is at most the last minute of these numbers, or the last few if more than 18,000 keys are in
//! use; never anything else.

use crate::{
    api::{error::Error, usage::UsageDays},
    cache::meter::{Meter, PendingUsage},
    domain::{
        id::KeyId,
        rate_limit::RateLimitKey,
        source::Source,
        usage::{Day, Refusal, Usage, date},
    },
    service::{caller::Actor, context::Service, verification::usage_report::shown},
    store::{
        engine::{Order, Read, Write},
        error::StoreError,
        rows,
        table::Table,
    },
};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// Keys whose numbers wait in memory at most, some 70 bytes each. More in use than that, or a store that fails for long,
/// fills it; then numbers are lost.
const MOST: usize = 1 << 20;

/// How many days of numbers are kept.
pub const KEPT_DAYS: i64 = 400;

/// The subject of the rows that sum all keys.
const EVERYBODY: &str = "all";

/// Whose uses wait to be written. They are on the meters.
#[derive(Default)]
pub struct UsageLog(Mutex<UnwrittenUsage>);

/// Written is all that waits, once a minute at most and a part at a time.
#[derive(Default)]
struct UnwrittenUsage {
    next: Vec<Arc<Meter>>,
    /// Whose turn it is, the last one first.
    round: Vec<Arc<Meter>>,
    began: Option<Timestamp>,
}

impl UnwrittenUsage {
    fn len(&self) -> usize {
        self.next.len() + self.round.len()
    }
}

impl UsageLog {
    fn waiting(&self) -> MutexGuard<'_, UnwrittenUsage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, meter: &Arc<Meter>, refused: Option<Refusal>, from: Option<Source>, now: Timestamp) {
        let mut uses = meter.uses();
        if uses.is_none() {
            let mut waiting = self.waiting();
            if waiting.len() >= MOST {
                return;
            }
            waiting.next.push(meter.clone());
        }
        uses.get_or_insert_default().count(refused, from, now);
    }

    /// Begins another round if it is time, or with `all` of them.
    fn begin(&self, now: Timestamp, all: bool) {
        let mut waiting = self.waiting();
        if all || (waiting.round.is_empty() && waiting.began.is_none_or(|at| now.duration_since(at).abs() >= STEP)) {
            let next = std::mem::take(&mut waiting.next);
            waiting.round.extend(next);
            waiting.round.sort_unstable_by_key(|meter| Reverse(meter.of));
            waiting.began = Some(now).filter(|_| !waiting.round.is_empty());
        }
    }

    /// The next numbers to be written, `most` at once, in the order of their rows: neighbours are written together.
    fn take(&self, most: usize) -> Vec<(Arc<Meter>, Box<PendingUsage>)> {
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
    fn give_back(&self, batch: Vec<(Arc<Meter>, Box<PendingUsage>)>) {
        for (meter, pending) in batch {
            let mut uses = meter.uses();
            if uses.is_none() {
                self.waiting().next.push(meter.clone());
            }
            uses.get_or_insert_default().add(&pending);
        }
    }

    /// Days of all keys together that are still in memory.
    fn all_pending_days(&self) -> BTreeMap<Date, Day> {
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

fn pending_days(meter: &Meter) -> BTreeMap<Date, Day> {
    meter.uses().as_ref().map(|pending| pending.days()).unwrap_or_default()
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

impl Service {
    /// What a key was used for on each of the last `days` days, oldest first, today last. For whoever may see the key.
    pub async fn key_usage(&self, actor: &Actor, id: KeyId, days: u16) -> Result<UsageDays, Error> {
        if !(1..=366).contains(&days) {
            return Err(Error::invalid("days", "must be 1 to 366"));
        }
        self.get_key(actor, id).await?;
        let today = date(self.runtime.now());
        let read = |rows: &dyn Read| Ok::<_, Error>((last_days(rows, &id.to_string(), today, days)?, rows::usage(rows, id)?.day));
        let (stored, last) = self.store().read(read).await?;
        let pending = self.meters.find(RateLimitKey::Key(id)).map(|meter| pending_days(&meter)).unwrap_or_default();
        Ok(shown(stored, last.into_iter().chain(pending)))
    }

    /// The stored numbers of a key with what is still in memory.
    pub(super) fn merged_usage(&self, key: KeyId, mut stored: Usage) -> Usage {
        if let Some(pending) = self.meters.find(RateLimitKey::Key(key)).and_then(|meter| meter.uses().clone()) {
            pending.add_to(&mut stored);
        }
        stored
    }

    /// The same for all keys of the deployment together.
    pub async fn usage_of_all(&self, days: u16) -> Result<UsageDays, Error> {
        let today = date(self.runtime.now());
        let stored = self.store().read(|rows| last_days(rows, EVERYBODY, today, days)).await?;
        Ok(shown(stored, self.usage.all_pending_days()))
    }

    /// The last writing before a stop.
    pub(super) async fn flush_last_usage(&self) {
        match tokio::time::timeout(AT_THE_END, self.flush_usage(true)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "usage counts of the last minute are lost"),
            Err(_) => tracing::warn!(keys = self.usage.waiting().len(), "there was no time to write the usage counts of all keys"),
        }
    }

    /// Writes counts that are due, or all of them.
    pub(super) async fn flush_usage(&self, all: bool) -> Result<(), Error> {
        self.usage.begin(self.runtime.now(), all);
        loop {
            let batch = self.usage.take(if all { BATCH } else { PER_SECOND });
            if batch.is_empty() {
                return Ok(());
            }
            let rows_to_write: Vec<_> = batch.iter().map(|(meter, pending)| (meter.of, pending.clone())).collect();
            let written = self.store().write(move |rows| {
                let mut everybody = BTreeMap::<Date, Day>::new();
                for (of, pending) in &rows_to_write {
                    let RateLimitKey::Key(key) = of else { continue };
                    let mut usage = rows::usage(rows, *key)?;
                    pending.add_to(&mut usage);
                    for (date, day) in pending.days() {
                        everybody.entry(date).or_default().add(&day);
                        if let Some((date, day)) = usage.add_day(date, day) {
                            add_day(rows, &key.to_string(), date, &day)?;
                        }
                    }
                    rows::save_usage(rows, *key, &usage)?;
                }
                everybody.iter().try_for_each(|(date, day)| add_day(rows, EVERYBODY, *date, day))?;
                Ok::<_, Error>(())
            });
            if let Err(error) = written.await {
                self.usage.give_back(batch);
                return Err(error);
            }
            if !all {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::meter::Meters;
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
        let meters = meters(MOST + 1000);
        meters.iter().for_each(|meter| log.note(meter, None, None, now));
        log.begin(now, true);
        log.give_back(log.take(BATCH));
        assert_eq!(log.waiting().len(), MOST);
        meters.iter().for_each(|meter| log.note(meter, None, None, now));
        assert_eq!(uses(&meters[0]), 2, "those that have a place go on");
        assert_eq!(uses(&meters[MOST]), 0);
        assert_eq!(log.all_pending_days().values().map(|day| day.accepted).sum::<u64>(), 2 * MOST as u64);
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
        let keys = meters(5 * PER_SECOND);
        let mut written = HashSet::new();
        keys.iter().for_each(|key| log.note(key, None, None, now));
        for _second in 0..5 {
            log.begin(now, false);
            let taken: Vec<_> = log.take(PER_SECOND).into_iter().map(|(key, _)| key.of).collect();
            assert_eq!((taken.len(), taken.is_sorted()), (PER_SECOND, true));
            written.extend(taken);
            keys.iter().for_each(|key| log.note(key, None, None, now));
        }
        log.begin(now, false);
        assert!(log.take(PER_SECOND).is_empty(), "the next round begins a minute after this one began");
        assert_eq!(written.len(), keys.len());
        log.begin(crate::domain::time::after(now, STEP), false);
        assert_eq!(log.take(keys.len()).len(), keys.len());
    }
}
