//! Walks over a table, page by page.

use crate::store::{
    access::{Order, Read},
    error::StoreError,
    table::Table,
};

/// Counts the rows of an index at start, page by page.
pub fn count(rows: &dyn Read, table: Table) -> Result<i64, StoreError> {
    let (mut count, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = rows.scan(table, &[], after.as_deref(), Order::Ascending, 1000)?;
        count += i64::try_from(page.len()).unwrap_or(i64::MAX);
        if page.len() < 1000 {
            return Ok(count);
        }
        after = page.last().map(|(key, _)| key.clone());
    }
}
