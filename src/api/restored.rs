//! What a restore brought back, and what stayed away.

use serde::Serialize;

/// What came of a restore.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Restored {
    pub rows: u64,
    /// Changes of the journal that were made again.
    pub taken_away: usize,
    /// Keys that wait for `keys resume`.
    pub suspended: u64,
    /// Passwords that are void.
    pub passwords_void: u64,
    /// Approvals whose key was not fetched before the backup.
    pub approvals_ended: u64,
}
