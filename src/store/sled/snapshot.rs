//! The store as it was at one moment, read while it changes: the writer leaves the old value of what it is about
//! to change, and a page puts those over what it read.

use crate::store::{
    access::Rows,
    error::StoreError,
    sled::files::{Changes, Files},
};
use std::{
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// What changed since the moment, as it was then.
#[derive(Clone, Default)]
pub struct Before(Arc<Mutex<Changes>>);

/// The writer's end.
pub struct Watched(Weak<Mutex<Changes>>);

impl Before {
    /// The writer's end of it, which keeps nothing alive.
    pub fn watched(&self) -> Watched {
        Watched(Arc::downgrade(&self.0))
    }

    /// A way to page through all rows of that moment. It holds nothing that keeps the database from being reopened.
    ///
    /// # Errors
    /// A page fails with [`StoreError::Unavailable`] when the database was opened again meanwhile.
    pub fn pages(self, files: &Arc<Files>) -> impl FnMut(usize) -> Result<Rows, StoreError> + Send + use<> {
        let (files, mut after) = (Arc::downgrade(files), Vec::new());
        move |limit| {
            let reopened = || StoreError::Unavailable("the store was opened again meanwhile: start over".to_owned());
            let files = files.upgrade().ok_or_else(reopened)?;
            loop {
                let stored = files.tree.range((Excluded(after.clone()), Unbounded)).take(limit);
                let mut rows = stored
                    .map(|row| files.noted(row).map(|(key, value)| (key.to_vec(), Some(value.to_vec()))))
                    .collect::<Result<Changes, _>>()?;
                let ends = rows.len() < limit;
                // Only now: whatever was read too new was left here before it was changed.
                let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let passed = match rows.last_key_value() {
                    Some((last, _)) if !ends => {
                        let later = before.split_off(&[last.as_slice(), &[0]].concat());
                        std::mem::replace(&mut *before, later)
                    }
                    _ => std::mem::take(&mut *before),
                };
                rows.extend(passed.into_iter().filter(|(key, _)| *key > after));
                if let Some((last, _)) = rows.last_key_value() {
                    after.clone_from(last);
                }
                let page: Rows = rows.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect();
                if ends || !page.is_empty() {
                    return Ok(page);
                }
            }
        }
    }
}

impl Watched {
    /// Leaves old values. Returns whether anybody still reads.
    pub fn leave(&self, old: &Changes) -> bool {
        let Some(before) = self.0.upgrade() else { return false };
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in old {
            before.entry(key.clone()).or_insert_with(|| value.clone());
        }
        true
    }
}
