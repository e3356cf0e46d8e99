//! What jobs and readers see: the tree, with changes laid over it.

use crate::store::{
    access::{Order, Read, Rows, Write},
    error::StoreError,
    sled::files::{Changes, Files},
    table::Table,
};
use std::{collections::BTreeMap, ops::Bound};

/// The tree under some changes, and what a job adds to them.
pub struct View<'a> {
    files: &'a Files,
    over: &'a Changes,
    pub own: Changes,
    pub notes: Vec<Vec<u8>>,
    pub takes_away: bool,
}

impl<'a> View<'a> {
    /// The tree under `over`, and nothing of a job's own yet.
    pub fn new(files: &'a Files, over: &'a Changes) -> Self {
        Self { files, over, own: Changes::new(), notes: Vec::new(), takes_away: false }
    }

    fn stored(&self, range: Range, order: Order, limit: usize) -> Result<Rows, StoreError> {
        let rows = self.files.tree.range(range);
        let read = |row| self.files.noted(row).map(|(key, value): (sled::IVec, sled::IVec)| (key[1..].to_vec(), value.to_vec()));
        match order {
            Order::Ascending => rows.take(limit).map(read).collect(),
            Order::Descending => rows.rev().take(limit).map(read).collect(),
        }
    }

    /// The changes within a range, a job's own over the others.
    fn changed(&self, range: &Range) -> BTreeMap<&Vec<u8>, &Option<Vec<u8>>> {
        let mut changed: BTreeMap<_, _> = self.over.range(range.clone()).collect();
        changed.extend(self.own.range(range.clone()));
        changed
    }

    /// The keys of stored rows within a range, in its order; those that are changed left out.
    fn unchanged_keys<'k>(
        &'k self,
        range: Range,
        order: Order,
        changed: &'k BTreeMap<&Vec<u8>, &Option<Vec<u8>>>,
    ) -> impl Iterator<Item = Result<sled::IVec, StoreError>> + 'k {
        let keys = self.files.tree.range(range).map(|row| self.files.noted(row).map(|(key, _)| key));
        let keys: Box<dyn Iterator<Item = _> + '_> = match order {
            Order::Ascending => Box::new(keys),
            Order::Descending => Box::new(keys.rev()),
        };
        keys.filter(|key| changed.is_empty() || !key.as_ref().is_ok_and(|key| changed.contains_key(&key.to_vec())))
    }
}

/// The key in the tree: the number of the table, then the key inside it.
pub fn full_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(key.len() + 1);
    full.push(table as u8);
    full.extend_from_slice(key);
    full
}

type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys from `prefix` (after `after`) on, as bounds in the given order.
fn bounds(table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order) -> Range {
    let first = full_key(table, prefix);
    let mut end = first.clone();
    // The smallest key past all that start with the prefix; table numbers stay far below 255.
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    // A key outside the prefix bounds nothing: a page never leaves its prefix.
    let after = after.map(|key| full_key(table, key));
    match order {
        Order::Ascending => (after.filter(|after| *after >= first).map_or(Bound::Included(first), Bound::Excluded), Bound::Excluded(end)),
        Order::Descending => (Bound::Included(first), Bound::Excluded(after.filter(|after| *after < end).unwrap_or(end))),
    }
}

fn is_empty_range((low, high): &Range) -> bool {
    match (low, high) {
        (Bound::Excluded(low), Bound::Excluded(high)) | (Bound::Included(low), Bound::Excluded(high)) => low >= high,
        _ => false,
    }
}

impl Read for View<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let full = full_key(table, key);
        match self.own.get(&full).or_else(|| self.over.get(&full)) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.files.noted(self.files.tree.get(full))?.map(|value| value.to_vec())),
        }
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Rows, StoreError> {
        let range = bounds(table, prefix, after, order);
        if is_empty_range(&range) {
            return Ok(Rows::new());
        }
        let changed = self.changed(&range);
        if changed.is_empty() {
            return self.stored(range, order, limit);
        }
        // Enough stored rows to fill the page even if every changed one was removed.
        let stored = self.stored(range, order, limit.saturating_add(changed.len()))?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in changed {
            match value {
                Some(value) => rows.insert(key[1..].to_vec(), value.clone()),
                None => rows.remove(&key[1..]),
            };
        }
        Ok(match order {
            Order::Ascending => rows.into_iter().take(limit).collect(),
            Order::Descending => rows.into_iter().rev().take(limit).collect(),
        })
    }

    fn scan_keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let range = bounds(table, prefix, after, order);
        if is_empty_range(&range) {
            return Ok(Vec::new());
        }
        let changed = self.changed(&range);
        let stored = self.unchanged_keys(range, order, &changed).take(limit);
        let mut keys = stored.map(|key| key.map(|key| key[1..].to_vec())).collect::<Result<Vec<_>, _>>()?;
        if !changed.is_empty() {
            keys.extend(changed.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key[1..].to_vec()));
            keys.sort_unstable();
            if order == Order::Descending {
                keys.reverse();
            }
            keys.truncate(limit);
        }
        Ok(keys)
    }

    fn count(&self, table: Table, limit: usize) -> Result<usize, StoreError> {
        let range = bounds(table, &[], None, Order::Ascending);
        let changed = self.changed(&range);
        let new = changed.values().filter(|value| value.is_some()).count();
        let mut stored = self.unchanged_keys(range, Order::Ascending, &changed).take(limit.saturating_sub(new));
        let stored = stored.try_fold(0_usize, |count, key| key.map(|_| count + 1))?;
        Ok((stored + new).min(limit))
    }
}

impl Write for View<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.own.insert(full_key(table, key), Some(value));
    }

    fn remove(&mut self, table: Table, key: &[u8]) {
        self.own.insert(full_key(table, key), None);
    }

    fn note(&mut self, entry: Vec<u8>) {
        self.takes_away = true;
        self.notes.push(entry);
    }

    fn takes_away(&mut self) {
        self.takes_away = true;
    }
}
