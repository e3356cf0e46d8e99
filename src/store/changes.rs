//! What a commit changed.

use crate::store::access::Read;

/// A row that a commit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRow {
    /// The number of the table, then the row's key.
    pub key: Vec<u8>,
    /// Whether it was there before.
    pub was: bool,
    /// Whether it is there now.
    pub is: bool,
}

/// What a commit changed.
pub enum Changed<'a> {
    /// All rows it changed but counts ([`is_written_behind`](crate::store::declaration::is_written_behind)).
    Rows(&'a [ChangedRow]),
    /// The store failed and was opened again: anything may be different from what was told. What it holds now.
    Everything(&'a dyn Read),
}

/// Told of every change after it was made (or may have been) and before anybody is told that it was.
pub type Observer = Box<dyn Fn(&Changed<'_>) + Send + Sync>;
