//! Walks over a whole table, page by page.

use crate::store::{
    access::{Order, Read, Write},
    error::StoreError,
    handle::Store,
    row::{self, Row},
    table::Table,
};

/// Rows read at a time.
const PAGE: usize = 1000;

/// Rows changed in one transaction.
const BATCH: usize = 500;

/// Looks at every row of a table, within one transaction.
///
/// # Errors
/// Those of `look`, and of the reading.
pub fn each(tx: &dyn Read, table: Table, mut look: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut after = None::<Vec<u8>>;
    loop {
        let page = tx.scan(table, &[], after.as_deref(), Order::Ascending, PAGE)?;
        for (key, value) in &page {
            look(key, value)?;
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
}

/// Edits every row of a type, in one transaction after the other. Returns for how many `edit` said yes.
///
/// # Errors
/// Those of `edit`, and of the store. What was edited before stays.
pub async fn edit_all<R: Row>(
    store: &Store,
    edit: impl Fn(&mut dyn Write, &mut R) -> Result<bool, StoreError> + Copy + Send + 'static,
) -> Result<u64, StoreError> {
    let (mut after, mut edited) = (None::<Vec<u8>>, 0);
    loop {
        let from = after.take();
        let batch = move |tx: &mut dyn Write| {
            let (page, mut count) = (tx.scan(R::TABLE, &[], from.as_deref(), Order::Ascending, BATCH)?, 0);
            for (key, value) in &page {
                let mut row = R::read(key, value)?;
                count += u64::from(edit(tx, &mut row)?);
                row::save(tx, &row)?;
            }
            Ok::<_, StoreError>((page.into_iter().next_back().map(|(key, _)| key), count))
        };
        let (last, count) = store.write(batch).await?;
        edited += count;
        match last {
            Some(_) => after = last,
            None => return Ok(edited),
        }
    }
}
