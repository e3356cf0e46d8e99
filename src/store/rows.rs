//! Typed rows over the byte contract: a row knows its table, its key and its index entries, and saving it keeps
//! all of them in step within the transaction.

use crate::{
    domain::{
        account::{Account, KnownPlaces},
        daily_count::{CountedEvent, DailyCount},
        digest::Digest,
        grant::Grant,
        id::{AccountId, GrantId, KeyId, ProgramSessionId, RegistrationId},
        journal_entry::JournalEntry,
        key::Key,
        name::{Email, ExternalId},
        program_session::ProgramSession,
        registration::transitions::Registration,
        source::Source,
        throttle::{Throttle, ThrottleCounter},
        usage::Usage,
    },
    store::{
        access::{Order, Read, Write},
        error::StoreError,
        table::Table,
    },
};
use jiff::{Timestamp, civil::Date};
use serde::{Serialize, de::DeserializeOwned};

pub trait Row: Serialize + DeserializeOwned {
    const TABLE: Table;
    fn key(&self) -> Vec<u8>;

    /// Index entries; each leads to this row's key.
    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        Vec::new()
    }

    /// What `self` takes away from what `before` allowed: an entry for the journal.
    fn loss_since(&self, _before: &Self) -> Option<JournalEntry> {
        None
    }
}

pub fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub fn load<R: Row>(rows: &(impl Read + ?Sized), key: impl AsRef<[u8]>) -> Result<Option<R>, StoreError> {
    rows.get(R::TABLE, key.as_ref())?.map(|bytes| decode(&bytes)).transpose()
}

/// The row a unique index entry leads to.
pub fn find<R: Row>(rows: &(impl Read + ?Sized), index: Table, entry: &[u8]) -> Result<Option<R>, StoreError> {
    match rows.get(index, entry)? {
        Some(key) => load(rows, key),
        None => Ok(None),
    }
}

pub fn save<R: Row>(rows: &mut (impl Write + ?Sized), row: &R) -> Result<(), StoreError> {
    let key = row.key();
    let index = row.index();
    if let Some(old) = load::<R>(rows, &key)? {
        if let Some(loss) = row.loss_since(&old) {
            rows.note(encode(&loss)?);
        }
        for (table, entry) in old.index() {
            if !index.iter().any(|(t, e)| *t == table && *e == entry) {
                rows.remove(table, &entry);
            }
        }
    }
    for (table, entry) in index {
        rows.put(table, &entry, key.clone());
    }
    rows.put(R::TABLE, &key, encode(row)?);
    Ok(())
}

pub fn erase<R: Row>(rows: &mut (impl Write + ?Sized), row: &R) {
    for (table, entry) in row.index() {
        rows.remove(table, &entry);
    }
    rows.remove(R::TABLE, &row.key());
}

/// One page of a list.
pub struct Page<R> {
    pub rows: Vec<R>,
    /// The index entry to go on after; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// Rows an index lists under `prefix`.
pub fn page<R: Row>(
    rows: &(impl Read + ?Sized),
    index: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
    order: Order,
    limit: usize,
) -> Result<Page<R>, StoreError> {
    let mut entries = rows.scan(index, prefix, after, order, limit.saturating_add(1))?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = if more { entries.last().map(|(entry, _)| entry.clone()) } else { None };
    let mut found = Vec::with_capacity(entries.len());
    for (_, key) in entries {
        if let Some(row) = load(rows, key)? {
            found.push(row);
        }
    }
    Ok(Page { rows: found, next })
}

/// Every row under `prefix`, for lists whose length a rule bounds.
pub fn all<R: Row>(rows: &(impl Read + ?Sized), index: Table, prefix: &[u8]) -> Result<Vec<R>, StoreError> {
    Ok(page(rows, index, prefix, None, Order::Ascending, usize::MAX - 1)?.rows)
}

/// Joins the parts of an index entry; no part holds a `|`.
pub fn entry(parts: &[&str]) -> Vec<u8> {
    parts.join("|").into_bytes()
}

/// An index entry that sorts by time, in seconds rounded up: nothing is due before its moment.
pub fn due(at: Timestamp, key: &str) -> Vec<u8> {
    due_second(at.as_second() + i64::from(at.subsec_nanosecond() > 0), key)
}

pub fn due_second(second: i64, key: &str) -> Vec<u8> {
    let mut entry = u64::try_from(second).unwrap_or(0).to_be_bytes().to_vec();
    entry.extend_from_slice(key.as_bytes());
    entry
}

/// Keys of at most `limit` rows that were due by `now`.
pub fn due_by(rows: &(impl Read + ?Sized), table: Table, now: Timestamp, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let end = u64::try_from(now.as_second()).unwrap_or(0).to_be_bytes();
    let entries = rows.scan(table, &[], None, Order::Ascending, limit)?;
    Ok(entries.into_iter().take_while(|(entry, _)| entry.get(..8).is_some_and(|at| at <= end.as_slice())).map(|(_, key)| key).collect())
}

pub fn registration(rows: &(impl Read + ?Sized), id: RegistrationId) -> Result<Option<Registration>, StoreError> {
    load(rows, id.to_string())
}

pub fn registration_by(rows: &(impl Read + ?Sized), index: Table, secret: &Digest) -> Result<Option<Registration>, StoreError> {
    find(rows, index, secret.as_bytes())
}

pub fn account(rows: &(impl Read + ?Sized), id: AccountId) -> Result<Option<Account>, StoreError> {
    load(rows, id.to_string())
}

pub fn account_by_email(rows: &(impl Read + ?Sized), email: &Email) -> Result<Option<Account>, StoreError> {
    find(rows, Table::Emails, email.as_str().as_bytes())
}

pub fn known_places(rows: &(impl Read + ?Sized), account: AccountId) -> Result<Option<KnownPlaces>, StoreError> {
    load(rows, account.to_string())
}

pub fn program_session(rows: &(impl Read + ?Sized), id: ProgramSessionId) -> Result<Option<ProgramSession>, StoreError> {
    load(rows, id.to_string())
}

/// A program's sessions, oldest first; [`ProgramSession::MAX_PER_ACCOUNT`] at most.
pub fn account_program_sessions(rows: &(impl Read + ?Sized), account: AccountId) -> Result<Vec<ProgramSession>, StoreError> {
    all(rows, Table::AccountProgramSessions, &entry(&[&account.to_string(), ""]))
}

pub fn account_by_external_id(rows: &(impl Read + ?Sized), id: &ExternalId) -> Result<Option<Account>, StoreError> {
    find(rows, Table::ExternalIds, id.as_str().as_bytes())
}

pub fn key(rows: &(impl Read + ?Sized), id: KeyId) -> Result<Option<Key>, StoreError> {
    load(rows, id.to_string())
}

pub fn key_by_hash(rows: &(impl Read + ?Sized), hash: &Digest) -> Result<Option<Key>, StoreError> {
    find(rows, Table::KeyHashes, hash.as_bytes())
}

pub fn grant(rows: &(impl Read + ?Sized), id: GrantId) -> Result<Option<Grant>, StoreError> {
    load(rows, id.to_string())
}

pub fn children(rows: &(impl Read + ?Sized), parent: KeyId) -> Result<Vec<Key>, StoreError> {
    all(rows, Table::Children, &entry(&[&parent.to_string(), ""]))
}

pub fn account_keys(rows: &(impl Read + ?Sized), account: AccountId) -> Result<Vec<Key>, StoreError> {
    all(rows, Table::AccountKeys, &entry(&[&account.to_string(), ""]))
}

pub fn account_grants(rows: &(impl Read + ?Sized), account: AccountId) -> Result<Vec<Grant>, StoreError> {
    all(rows, Table::AccountGrants, &entry(&[&account.to_string(), ""]))
}

pub fn usage(rows: &(impl Read + ?Sized), id: KeyId) -> Result<Usage, StoreError> {
    Ok(rows.get(Table::Usage, id.to_string().as_bytes())?.map(|bytes| decode(&bytes)).transpose()?.unwrap_or_default())
}

pub fn save_usage(rows: &mut (impl Write + ?Sized), id: KeyId, usage: &Usage) -> Result<(), StoreError> {
    rows.put(Table::Usage, id.to_string().as_bytes(), encode(usage)?);
    Ok(())
}

/// How often a limit was charged in the present window.
pub fn charged(rows: &(impl Read + ?Sized), limit: &Throttle, now: Timestamp) -> Result<u32, StoreError> {
    Ok(load::<ThrottleCounter>(rows, limit.row(now))?.map_or(0, |counter| counter.count))
}

/// Counts once more.
pub fn charge(rows: &mut (impl Write + ?Sized), limit: &Throttle, now: Timestamp) -> Result<(), StoreError> {
    let count = charged(rows, limit, now)?.saturating_add(1);
    save(rows, &ThrottleCounter { row: limit.row(now), count, ends_at: limit.ends_at(now) })
}

pub fn tally_key(day: Date, what: CountedEvent) -> Vec<u8> {
    entry(&[&day.to_string(), what.as_str()])
}

/// Counts something for its day, in the transaction in which it happens.
pub fn count(rows: &mut (impl Write + ?Sized), what: CountedEvent, now: Timestamp) -> Result<(), StoreError> {
    let fresh = DailyCount::new(what, now);
    let mut tally = load(rows, fresh.key())?.unwrap_or(fresh);
    tally.count += 1;
    save(rows, &tally)
}

/// A source a human disowned a request from: until when it is flagged, in Unix seconds.
pub fn flagged_until(rows: &(impl Read + ?Sized), source: &Source) -> Result<Option<i64>, StoreError> {
    rows.get(Table::FlaggedSources, source.rate_limit_key().as_bytes())?.map(|bytes| decode(&bytes)).transpose()
}

pub fn flag(rows: &mut (impl Write + ?Sized), source: &Source, until: i64) {
    rows.put(Table::FlaggedSources, source.rate_limit_key().as_bytes(), until.to_string().into_bytes());
}

/// A setting of the whole store: schema version, id of the secret, key formats ever used.
pub fn meta<T: DeserializeOwned>(rows: &(impl Read + ?Sized), name: &str) -> Result<Option<T>, StoreError> {
    rows.get(Table::Meta, name.as_bytes())?.map(|bytes| decode(&bytes)).transpose()
}

pub fn save_meta<T: Serialize>(rows: &mut (impl Write + ?Sized), name: &str, value: &T) -> Result<(), StoreError> {
    rows.put(Table::Meta, name.as_bytes(), encode(value)?);
    Ok(())
}
